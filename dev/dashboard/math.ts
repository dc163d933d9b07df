/** Values of a time series, by the beginning of their period in epoch ms. */
export type Points = ReadonlyMap<number, number>;

type Value = number | Points;

const operators: Record<string, (a: number, b: number) => number> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
};

/**
 * CloudWatch's metric math, as far as the dashboard uses it: numbers, ids, `+ - * /`, parentheses, `FILL(series, number)`.
 * Where an operand has no value, or the divisor is 0, there is none.
 *
 * @param times Every period that there is: what FILL fills.
 * @throws For anything else.
 */
export function evaluate(expression: string, series: ReadonlyMap<string, Points>, times: readonly number[]): Points {
  const tokens = expression.match(/\d+(\.\d+)?|\w+|\S/g) ?? [];

  const fail = (): never => {
    throw new Error(`Metric math that cannot be computed here: ${expression}`);
  };
  const take = (token: string) => tokens.shift() === token || fail();

  function sum(): Value {
    let value = product();
    while (tokens[0] === "+" || tokens[0] === "-") value = combine(tokens.shift() ?? "", value, product());
    return value;
  }

  function product(): Value {
    let value = operand();
    while (tokens[0] === "*" || tokens[0] === "/") value = combine(tokens.shift() ?? "", value, operand());
    return value;
  }

  function operand(): Value {
    const token = tokens.shift() ?? fail();
    if (/^\d/.test(token)) return Number(token);
    if (token === "(") return closed(sum());
    if (token !== "FILL") return series.get(token) ?? fail();
    take("(");
    const filled = sum();
    take(",");
    const by = closed(sum());
    if (typeof filled === "number" || typeof by !== "number") return fail();
    return new Map(times.map((at) => [at, filled.get(at) ?? by]));
  }

  function closed(value: Value): Value {
    take(")");
    return value;
  }

  function combine(operator: string, a: Value, b: Value): Value {
    const of = operators[operator] ?? fail();
    if (typeof a === "number" && typeof b === "number") return of(a, b);
    const at = (value: Value, time: number) => (typeof value === "number" ? value : (value.get(time) ?? Number.NaN));
    return new Map(
      times.map((time) => [time, of(at(a, time), at(b, time))] as const).filter(([, value]) => Number.isFinite(value)),
    );
  }

  const value = sum();
  if (tokens.length > 0 || typeof value === "number") return fail();
  return value;
}
