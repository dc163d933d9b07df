import { useApi } from "../api.ts";
import { useStore } from "../store.ts";
import { timeOfDay } from "../time.ts";
import { CurlButton, OperationId, Status } from "./notice.tsx";

/** The requests of this tab: what each has cost, and how to find and repeat it. */
export function Requests() {
  const requests = useStore(useApi().requests);
  if (requests.length === 0) return <p class="muted">None yet.</p>;
  return (
    <ol class="requests">
      {requests.map((request) => (
        <li key={request.id}>
          <Status {...request} />
          <span>
            {request.operation}
            {request.attempt > 1 && <span class="muted"> attempt {request.attempt}</span>}
          </span>
          <span class="ms">{request.durationMs} ms</span>
          <span class="about muted small row">
            {timeOfDay(request.at)}
            {request.code && <span>{request.code}</span>}
            {request.replayed && <span>replayed</span>}
            {request.rateLimit && (
              <span title="Requests that are left in this minute">
                {request.rateLimit.remaining} of {request.rateLimit.limit} left
              </span>
            )}
            <OperationId id={request.operationId} />
            <CurlButton request={request} />
          </span>
        </li>
      ))}
    </ol>
  );
}
