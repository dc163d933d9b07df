import { answerOf, type Finding, findings } from "./checks.ts";
import { forgetSteps } from "./code.ts";
import { forgetStates, idOf, type Model, nameOf, worldOf } from "./state.ts";
import { next, type Scene } from "./steps.ts";

export interface Walk {
  states: number;
  /** States that end in something undecidable, by what it is. */
  undecidable: number;
  violation?: { what: string[]; trace: string[] };
}

interface Node {
  model: Model;
  label: string;
  from: Node | undefined;
}

/** Walks through every state that can be reached; the first violation ends it. */
export function walk(start: Model, scene: Scene, { isShortest = false } = {}): Walk {
  forgetStates();
  forgetSteps();
  const seen = new Set<number>();
  const judged = new Map<string, Finding[]>();
  const open: Node[] = [{ model: start, label: "", from: undefined }];
  let undecidable = 0;
  let first = 0;
  const take = () => (isShortest ? open[first++] : open.pop());
  for (let node = take(); node; node = take()) {
    const { model } = node;
    const name = hash(nameOf(model));
    if (seen.has(name)) continue;
    seen.add(name);

    const world = `${worldOf(model)} ${model.actors.map((actor) => (actor.kind === "sender" ? idOf(answerOf(actor)) : "")).join()}`;
    const found = judged.get(world) ?? findings(model, scene);
    judged.set(world, found);
    if (found.length > 0) {
      const what = found.filter(({ isUndecidable }) => !isUndecidable).map((one) => one.what);
      if (what.length > 0) return { states: seen.size, undecidable, violation: { what, trace: traceOf(node) } };
      undecidable += 1;
    }
    for (const [label, after] of next(model, scene)) open.push({ model: after, label, from: node });
  }
  return { states: seen.size, undecidable };
}

function traceOf(node: Node): string[] {
  const labels: string[] = [];
  for (let at: Node | undefined = node; at?.from; at = at.from) labels.unshift(at.label);
  return labels;
}

/** 53 bits of a name (cyrb53): two states in a million million share one, which would hide the second. */
function hash(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 2654435761);
    b = Math.imul(b ^ c, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}
