/** How often a property is tried: a tenth in `npm test`; all of it in `npm run prove -- properties`. */
export const runs = (all: number) => (process.env.TEST_ALL_RUNS ? all : Math.ceil(all / 10));
