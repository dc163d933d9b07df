import type { Services } from "../services.ts";

/** The content of `.local/dev.json`, for programs. Ids are "" without demo data, tokens are "" if JWT_SECRET was set. */
export interface DevJson {
  url: string;
  subaccountId: string;
  agentId: string;
  tokens: { owner: string; viewer: string; formerMember: string; stranger: string; superAdmin: string };
  services: {
    mongodb: string;
    upstash: { url: string; token: string };
    retell: { url: string; control: string };
  };
}

/** The address of each service. For MONGODB_URL only the name is shown, because it may contain a password. */
export function whatRuns({ mongodb, upstash, retell }: Services, url: string, folder: string): string[] {
  const own = mongodb.source === "MONGODB_URL";
  return [
    `  Console  ${url}/  (talk to an agent, look at chats; ${url}/reference describes the API)`,
    `  API      ${url}`,
    `  MongoDB  ${own ? "MONGODB_URL" : `${mongodb.url}  (${mongodb.source})`}`,
    `  Upstash  ${upstash.url}  (${upstash.source})`,
    `  Retell   ${retell.url}${retell.control ? `  (simulator; GET ${retell.control} lists its commands)` : ""}`,
    `  Data     ${folder}  (dev.json, gateway.log, services.log; \`npm run local -- reset\` empties it)`,
  ];
}

/** Three lines to paste into bash or zsh, one after another: create a chat, send a message, read the transcript. */
export function pasteLines({ url, subaccountId, agentId, tokens }: DevJson): [string, string, string] {
  const api = `${url}/api/chats/${subaccountId}`;
  const auth = `-H "authorization: Bearer $TOKEN"`;
  const json = `-H 'content-type: application/json'`;
  const show = `node -p 'JSON.stringify(JSON.parse(fs.readFileSync(0)), null, 2)'`;
  const showAndTell = `node -e 'const reply = JSON.parse(fs.readFileSync(0)); console.error(JSON.stringify(reply, null, 2)); console.log(reply.data?.chat_id ?? "")'`;
  const token = tokens.owner ? `TOKEN=${tokens.owner}; ` : "";
  return [
    `${token}CHAT=$(curl -s "${api}/create" ${auth} ${json} -d '{"agentId": "${agentId}"}' | ${showAndTell})`,
    `curl -s "${api}/$CHAT/message" ${auth} ${json} -H "idempotency-key: $CHAT-1" -d '{"content": "Where is my order?"}' | ${show}`,
    `curl -s "${api}/$CHAT/transcript" ${auth} | ${show}`,
  ];
}
