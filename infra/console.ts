/**
 * The security headers of the console and of the reference page, as header names and values.
 *
 * @param api Where the pages may connect to: `'self'`, or the API's address.
 */
export function pageHeaders(api: string): Record<string, string> {
  return {
    "content-security-policy": policyOf(api),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
  };
}

/** Only files of their own host, whatever a chat contains. Images may be part of the stylesheets (data:). */
function policyOf(api: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src ${["'self'", api].filter((source, index) => index === 0 || source !== "'self'").join(" ")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
