import { useEffect, useState } from "preact/hooks";

/** A fault of the Retell simulator; packages/retell-simulator/README.md explains the fields. */
interface Fault {
  step: string;
  kind: string;
  /** In the queue: how many requests it still meets; null: all. */
  left?: number | null;
  [parameter: string]: unknown;
}

const presets: { name: string; effect: string; fault: Fault }[] = [
  {
    name: "The next reply takes 8 s",
    effect: "The message is pending until then",
    fault: { step: "completion", kind: "latency", ms: 8_000 },
  },
  {
    name: "The next reply takes 40 s",
    effect: "The API gives up first; the reply arrives late",
    fault: { step: "completion", kind: "lateReply", replyAfterMs: 40_000 },
  },
  {
    name: "A message is refused four times",
    effect: "It is shown as not sent, until the fifth attempt",
    fault: { step: "completion", kind: "status", status: 422, count: 4 },
  },
  {
    name: "The next message is carried out, and answered with an error",
    effect: "The reply is found in Retell's history",
    fault: { step: "completion", kind: "status", status: 500, effect: "before" },
  },
  {
    name: "The next connection is cut after the message",
    effect: "The same, without any answer",
    fault: { step: "completion", kind: "drop", effect: "before" },
  },
  {
    name: "The next message meets Retell's own limit",
    effect: "429; the API waits 8 s before it asks again",
    fault: { step: "completion", kind: "status", status: 429, retryAfter: 8 },
  },
  {
    name: "Retell is away",
    effect: "Every request fails until the faults are removed",
    fault: { step: "any", kind: "drop", count: 0 },
  },
];

/** Makes the simulated Retell misbehave, to see that nothing is lost. */
export function Faults() {
  const [queue, setQueue] = useState<Fault[]>([]);
  const [problem, setProblem] = useState("");
  const ask = async (init?: RequestInit) => {
    try {
      const response = await fetch("/_local/faults", init);
      if (!response.ok) throw new Error(`The simulator answered ${response.status}`);
      setQueue((await response.json()).faults);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  useEffect(() => {
    void ask();
    const timer = setInterval(() => document.hidden || void ask(), 2_000);
    return () => clearInterval(timer);
  }, []);

  return (
    <div class="stack">
      <h2>Make Retell misbehave</h2>
      <p class="muted small">
        Retell is simulated here. Choose what happens to it, then write a message: nothing is lost, nothing is sent
        twice.
      </p>
      <div class="faults">
        {presets.map(({ name, effect, fault }) => (
          <button key={name} type="button" onClick={() => ask({ method: "POST", body: JSON.stringify(fault) })}>
            {name}
            <small>{effect}</small>
          </button>
        ))}
      </div>
      <div class="row spread" role="status">
        <span>
          {queue.length === 0
            ? "No fault waits."
            : `${queue.length === 1 ? "1 fault waits" : `${queue.length} faults wait`}:`}
        </span>
        <button type="button" disabled={queue.length === 0} onClick={() => ask({ method: "DELETE" })}>
          Remove them
        </button>
      </div>
      <ul class="stack small">
        {queue.map((fault, index) => (
          <li key={index} class="mono">
            {fault.step}: {fault.kind}
            {fault.left === null ? ", until removed" : fault.left === 1 ? "" : `, ${fault.left} times`}
          </li>
        ))}
      </ul>
      {problem && <p class="bad">{problem}</p>}
    </div>
  );
}
