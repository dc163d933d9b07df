/** The security headers of the console and of the reference page under `npm start`. A deployment has HSTS as well. */
export const pageHeaders = {
  "content-security-policy": contentSecurityPolicy("'self'"),
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/**
 * The pages load files of their own host alone, whatever a chat contains. Images may be part of the stylesheets (data:).
 *
 * @param api Where they may connect to, besides their own host.
 */
export function contentSecurityPolicy(api: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    api === "'self'" ? "connect-src 'self'" : `connect-src 'self' ${api}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
