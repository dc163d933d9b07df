import { useState } from "preact/hooks";
import type { Session } from "../session.ts";

/** Asks for a token and a subaccount. */
export function SignIn({ session, onDone }: { session: Session | undefined; onDone: (session: Session) => void }) {
  const [token, setToken] = useState(session?.token ?? "");
  const [subaccountId, setSubaccountId] = useState(session?.subaccountId ?? "");
  const submit = (event: Event) => {
    event.preventDefault();
    // People copy the whole header.
    onDone({ token: token.trim().replace(/^(authorization: *)?bearer +/i, ""), subaccountId: subaccountId.trim() });
  };
  return (
    <div class="page narrow">
      <form class="card stack" onSubmit={submit}>
        <h1 tabIndex={-1}>Sign in with a token</h1>
        <p class="muted">
          Paste an access token of your login service. It stays in this tab, and is forgotten when the tab closes.
        </p>
        <div class="field">
          <label for="token">Access token</label>
          <input
            id="token"
            type="password"
            class="mono"
            required
            autocomplete="off"
            spellcheck={false}
            value={token}
            onInput={({ currentTarget }) => setToken(currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for="subaccount">Subaccount</label>
          <input
            id="subaccount"
            class="mono"
            required
            pattern="\s*[0-9a-fA-F]{24}\s*"
            title="24 hexadecimal digits"
            autocomplete="off"
            spellcheck={false}
            value={subaccountId}
            onInput={({ currentTarget }) => setSubaccountId(currentTarget.value)}
          />
        </div>
        <div class="row">
          <button type="submit" class="primary">
            Sign in
          </button>
        </div>
      </form>
    </div>
  );
}
