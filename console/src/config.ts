/** Where the API is: /config.json, which `npm start` answers and a deployment writes. */
export interface Config {
  apiUrl: string;
  /** The demo of `npm start`, and what it has around it. */
  local?: LocalSetup;
}

export interface LocalSetup {
  /** Absent: no demo data, or the tokens come from a login service. */
  demo?: Demo;
  /** Whether Retell is simulated, so that it can be told to fail. */
  faults: boolean;
}

export interface Demo {
  subaccountId: string;
  agentIds: string[];
  /** By user. */
  tokens: Record<string, string>;
}

/** @throws When the file is missing or malformed. */
export async function loadConfig(): Promise<Config> {
  const { apiUrl, local } = await getJson("/config.json");
  if (typeof apiUrl !== "string") throw new Error("config.json does not say where the API is");
  const config = { apiUrl: new URL(apiUrl, location.origin).href.replace(/\/$/, "") };
  if (local !== true) return config;
  const { faults, subaccountId, agentIds, tokens } = await getJson<Partial<Demo & LocalSetup>>("/_local/demo");
  const demo = subaccountId && agentIds && tokens && { subaccountId, agentIds, tokens };
  return { ...config, local: { faults: faults === true, ...(demo ? { demo } : {}) } };
}

async function getJson<Known = Record<string, unknown>>(path: string): Promise<Known> {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(`${path} was answered with ${response.status}`);
  return response.json();
}
