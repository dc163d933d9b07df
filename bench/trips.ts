import { type Api, load, type Name, type Place, type Request, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { delayed } from "./delay.ts";
import { aPlace } from "./place.ts";

/** The number of consecutive trips: all of them, and those to Upstash, to MongoDB and to Retell. */
export interface Depth {
  all: number;
  upstash: number;
  mongo: number;
  retell: number;
}

export type Trips = Record<string, { naive: Depth; ours: Depth }>;

/** Creates what a request needs, and returns the request. */
type Prepare = (api: Api, place: Place) => Promise<Request>;

const created: Prepare = async (api, place) => {
  const { body } = await succeed(api, "create", place, { body: { agentId: place.agentId } });
  return { chatId: body.data.chat_id };
};
const listed: Prepare = async (api, place) => {
  await succeed(api, "list", place);
  return {};
};
const ended: Prepare = async (api, place) => {
  const request = await created(api, place);
  await succeed(api, "end", place, request);
  return request;
};

export const cases: { what: string; name: Name; prepare: Prepare }[] = [
  { what: "list, hit", name: "list", prepare: listed },
  { what: "list, miss", name: "list", prepare: created },
  {
    what: "transcript, ended, hit",
    name: "transcript",
    prepare: async (api, place) => {
      const request = await ended(api, place);
      await succeed(api, "transcript", place, request);
      return request;
    },
  },
  { what: "transcript, ended, miss", name: "transcript", prepare: ended },
  { what: "transcript, ongoing", name: "transcript", prepare: created },
  {
    what: "message",
    name: "message",
    prepare: async (api, place) => ({ ...(await created(api, place)), body: { content: "ping" } }),
  },
  { what: "create", name: "create", prepare: async (_api, { agentId }) => ({ body: { agentId } }) },
  { what: "end", name: "end", prepare: created },
];

/**
 * Puts a delay in front of the services and measures by how much an answer comes later: a consecutive trip adds the
 * delay, a parallel one adds nothing. The instance knows the callers, and all connections are open.
 */
async function measure({ quick }: Job): Promise<Trips> {
  const { UPSTASH_REDIS_REST_URL = "", MONGODB_URL = "", RETELL_BASE_URL = "" } = process.env;
  const upstash = await delayed(UPSTASH_REDIS_REST_URL);
  const mongo = await delayed(MONGODB_URL);
  const retell = await delayed(RETELL_BASE_URL);
  const services = [upstash, mongo, retell];
  Object.assign(process.env, {
    UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${upstash.port}`,
    RETELL_BASE_URL: `http://127.0.0.1:${retell.port}`,
    // Without directConnection, the driver would connect to the address that the node reports, past the proxy.
    MONGODB_URL: `mongodb://127.0.0.1:${mongo.port}${new URL(MONGODB_URL).pathname}?directConnection=true`,
  });
  const place = await aPlace();
  const apis = { naive: await load(new URL("naive/", import.meta.url)), ours: await load() };

  const trips: Trips = {};
  for (const { what, name, prepare } of cases) {
    const depth = async (api: Api): Promise<Depth> => {
      /** The least of several times to the answer, in ms, with these delays. The least, because disturbances only add. */
      const latency = async (of: typeof services, ms: number, times: number) => {
        const taken: number[] = [];
        for (let i = 0; i < times; i++) {
          const request = await prepare(api, place);
          for (const service of of) service.ms = ms;
          const start = performance.now();
          await succeed(api, name, place, request);
          taken.push(performance.now() - start);
          for (const service of of) service.ms = 0;
        }
        return Math.min(...taken);
      };
      // The difference between two delays, so that the timers' own cost cancels out.
      const slope = async (of: typeof services, times: number) =>
        ((await latency(of, 50, times)) - (await latency(of, 10, times))) / 40;
      await latency([], 0, 2);
      return {
        all: await slope(services, quick ? 3 : 7),
        upstash: await slope([upstash], 3),
        mongo: await slope([mongo], 3),
        retell: await slope([retell], 3),
      };
    };
    trips[what] = { naive: await depth(apis.naive), ours: await depth(apis.ours) };
  }
  return trips;
}

if (import.meta.main) tell(await measure(job()));
