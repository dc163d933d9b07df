/// <reference path="../.sst/platform/config.d.ts" />

/**
 * Deploys the console and the reference page as a static site.
 *
 * The API's CORS names the site, so the site comes first, and its policy cannot name an address that AWS gives the API:
 * without a domain it allows those of the region. `configure` then tells the pages the very address.
 */
export async function consoleSite(domain: string | undefined) {
  // In two parts for the reason in sst.config.ts.
  const { contentSecurityPolicy }: Pages = await import("./" + "console.ts");
  if (process.env.PREBUILT !== "true") await build();
  const region = aws.getRegionOutput().region;
  const connect = domain ? `https://${domain}` : $interpolate`https://*.execute-api.${region}.amazonaws.com`;

  const headers = new aws.cloudfront.ResponseHeadersPolicy("ConsoleHeaders", {
    name: `${$app.name}-${$app.stage}-console`,
    securityHeadersConfig: {
      contentSecurityPolicy: {
        contentSecurityPolicy: $output(connect).apply(contentSecurityPolicy),
        override: true,
      },
      contentTypeOptions: { override: true },
      frameOptions: { frameOption: "DENY", override: true },
      referrerPolicy: { referrerPolicy: "no-referrer", override: true },
      strictTransportSecurity: { accessControlMaxAgeSec: 63_072_000, includeSubdomains: true, override: true },
    },
  });
  const site = new sst.aws.StaticSite("Console", {
    path: "console/dist",
    assets: { routes: ["config.json"] }, // no file of the build
    transform: {
      cdn: (args) => {
        args.defaultCacheBehavior = $resolve([args.defaultCacheBehavior]).apply(([behavior]) => ({
          ...behavior,
          allowedMethods: ["GET", "HEAD", "OPTIONS"],
          responseHeadersPolicyId: headers.id,
        }));
      },
    },
  });

  const configure = (apiUrl: $util.Output<string>) => {
    const bucket = site.nodes.assets;
    if (!bucket) return; // in `sst dev` nothing is deployed
    new aws.s3.BucketObjectv2("ConsoleConfig", {
      bucket: bucket.name,
      key: "config.json",
      content: $jsonStringify({ apiUrl }),
      contentType: "application/json",
      cacheControl: "no-store",
    });
  };
  return { url: site.url, configure };
}

async function build(): Promise<void> {
  const { execFileSync } = await import("node:child_process");
  const vite = `${$cli.paths.root}/node_modules/vite/bin/vite.js`;
  execFileSync("node", [vite, "build", "--logLevel", "warn"], { cwd: `${$cli.paths.root}/console`, stdio: "inherit" });
}

/** What it uses of console.ts. */
interface Pages {
  contentSecurityPolicy(api: string): string;
}
