/**
 * A subaccount's id as a tool was given it, in lower case.
 *
 * @throws An Error with the tool's usage when it is none.
 */
export function subaccountIdOf(given: string | undefined, usage: string): string {
  if (!/^[0-9a-f]{24}$/i.test(given ?? "")) throw new Error(`--subaccount must be 24 hex digits. Usage: ${usage}`);
  return (given ?? "").toLowerCase();
}
