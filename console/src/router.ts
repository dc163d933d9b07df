import { useEffect, useState } from "preact/hooks";

/** A place in the console. It stands in the address's fragment, which no web server needs to know. */
export interface Place {
  /** `/chats/chat_1` is `["chats", "chat_1"]`. */
  path: string[];
  query: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  return {
    path: path
      .split("/")
      .filter((part) => part !== "")
      .map(decode),
    query: new URLSearchParams(query),
  };
}

export const chatHref = (chatId: string) => `#/chats/${encodeURIComponent(chatId)}`;

export function go(href: string): void {
  location.hash = href;
}

export function usePlace(): Place {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const change = () => setHash(location.hash);
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return placeOf(hash);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
