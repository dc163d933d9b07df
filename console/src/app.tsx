import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiProvider, connect } from "./api.ts";
import type { Config } from "./config.ts";
import { AnalyticsPage } from "./pages/analytics.tsx";
import { ChatPage } from "./pages/chat.tsx";
import { Chats } from "./pages/chats.tsx";
import { ExportsPage } from "./pages/exports.tsx";
import { SignIn } from "./pages/sign-in.tsx";
import { Talk } from "./pages/talk.tsx";
import { type Place, usePlace } from "./router.ts";
import { claimsOf, demoSession, forget, keep, type Session } from "./session.ts";
import { ThemeButton } from "./theme.tsx";

export function App({ config, first }: { config: Config; first: Session | undefined }) {
  const [session, setSession] = useState(first);
  const place = usePlace();
  const [page = "talk"] = place.path;
  const change = (next: Session | undefined) => {
    if (next) keep(next);
    else forget();
    setSession(next);
  };

  // A new page begins at its heading, for screen readers and the keyboard.
  useEffect(() => document.querySelector("h1")?.focus(), [place.path.join("/")]);

  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <header class="side">
        <a class="brand" href="#/" aria-label="ScalAI Chat">
          <Logo />
          <span>ScalAI Chat</span>
        </a>
        <nav class="nav" aria-label="Pages">
          <NavLink href="#/" isHere={page === "talk"} text="Talk" />
          <NavLink href="#/chats" isHere={page === "chats"} text="Chats" />
          <NavLink href="#/analytics" isHere={page === "analytics"} text="Analytics" />
          <NavLink href="#/exports" isHere={page === "exports"} text="Exports" />
          <a href="/reference">API reference</a>
        </nav>
        <div class="who">
          {session && <Who config={config} session={session} onChange={change} />}
          <ThemeButton />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {session?.token && session.subaccountId ? (
          // A key, so that no page shows what another user was given.
          <Content key={session.token} config={config} session={session} place={place} />
        ) : (
          <SignIn session={session} onDone={change} />
        )}
      </main>
    </div>
  );
}

function Content({ config, session, place }: { config: Config; session: Session; place: Place }) {
  const api = useMemo(() => connect(config, session), [config, session]);
  return <ApiProvider value={api}>{pageOf(place)}</ApiProvider>;
}

function pageOf({ path: [page = "talk", id], query }: Place) {
  if (page === "talk") return <Talk />;
  if (page === "chats" && id !== undefined) return <ChatPage key={`${id} ${query}`} chatId={id} seq={seqIn(query)} />;
  if (page === "chats") return <Chats query={query} />;
  if (page === "analytics") return <AnalyticsPage query={query} />;
  if (page === "exports") return <ExportsPage query={query} />;
  return (
    <div class="page empty">
      <h1 tabIndex={-1}>There is no such page</h1>
      <a href="#/">Talk to an agent</a>
    </div>
  );
}

/** The message that a result of the search leads to. */
const seqIn = (query: URLSearchParams) => (query.has("seq") ? Number(query.get("seq")) : undefined);

function NavLink({ href, isHere, text }: { href: string; isHere: boolean; text: string }) {
  return (
    <a href={href} aria-current={isHere ? "page" : undefined}>
      {text}
    </a>
  );
}

const users: Record<string, { name: string; may: string }> = {
  owner: { name: "Owner", may: "may do everything" },
  viewer: { name: "Viewer", may: "may read, not write" },
  formerMember: { name: "Former member", may: "access has expired" },
  stranger: { name: "Stranger", may: "is no member" },
  superAdmin: { name: "Super admin", may: "may do everything, everywhere" },
};

interface WhoProps {
  config: Config;
  session: Session;
  onChange: (session: Session | undefined) => void;
}

function Who({ config: { local }, session, onChange }: WhoProps) {
  const demo = local?.demo;
  if (demo && session.user !== undefined) {
    return (
      <div class="field">
        <label for="user">Signed in as</label>
        <select
          id="user"
          aria-label="Signed in as"
          value={session.user}
          onChange={({ currentTarget: { value } }) => onChange(value ? demoSession(demo, value) : undefined)}
        >
          {Object.keys(demo.tokens).map((name) => (
            <option key={name} value={name}>
              {users[name]?.name ?? name}
            </option>
          ))}
          <option value="">Use another token …</option>
        </select>
        <small class="hint muted">{users[session.user]?.may}</small>
      </div>
    );
  }
  const { email, id, sub } = claimsOf(session.token);
  return (
    <div class="field">
      <small class="hint muted">{String(email ?? id ?? sub ?? "A token without a name")}</small>
      <button type="button" onClick={() => onChange(demo ? demoSession(demo) : undefined)}>
        {demo ? "Back to the demo" : "Sign out"}
      </button>
    </div>
  );
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" role="presentation" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#1f4fbf" />
      <path
        d="M8 10.5A2.5 2.5 0 0 1 10.5 8h11A2.5 2.5 0 0 1 24 10.5v7a2.5 2.5 0 0 1-2.5 2.5H15l-5 4v-4a2 2 0 0 1-2-2z"
        fill="#fff"
      />
    </svg>
  );
}
