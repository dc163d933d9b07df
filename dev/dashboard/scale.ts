const steps = [1, 2, 5, 10];
const timeSteps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400];
const mostTimes = 7;

/** At most six round numbers, from `low` to what is at least `high`. */
export function ticksOf(low: number, high: number): number[] {
  const span = high > low ? high - low : 1;
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (steps.find((each) => each * power >= rough) ?? 10);
  const count = Math.ceil(span / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((low + i * step).toPrecision(12)));
}

/** Round times of day, UTC: minutes, or seconds too where they are closer. */
export function timeTicksOf(from: number, until: number): { at: number; label: string }[] {
  const seconds = timeSteps.find((each) => (until - from) / 1_000 / each <= mostTimes) ?? 86_400;
  const stepMs = seconds * 1_000;
  const first = Math.ceil(from / stepMs) * stepMs;
  return Array.from({ length: Math.floor((until - first) / stepMs) + 1 }, (_, i) => {
    const at = first + i * stepMs;
    return { at, label: new Date(at).toISOString().slice(11, seconds < 60 ? 19 : 16) };
  });
}
