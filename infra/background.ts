/// <reference path="../.sst/platform/config.d.ts" />

/**
 * Deploys the queue of background jobs with its dead letters, and the bucket of files.
 *
 * No function is linked to them: SST's links would allow everything. `use` gives a function what it needs.
 *
 * @param origins Whose pages may download files.
 */
export async function background(origins: $util.Input<string>[]) {
  // In two parts for the reason in sst.config.ts.
  const { visibilitySeconds, deadLetterDays, maxReceives, concurrentWorkers }: Jobs = await import("./" + "jobs.ts");
  const deadLetters = new sst.aws.Queue("JobsDeadLetters", {
    transform: {
      queue: (args) => {
        args.messageRetentionSeconds = deadLetterDays * 86_400;
      },
    },
  });
  const queue = new sst.aws.Queue("Jobs", {
    visibilityTimeout: `${visibilitySeconds} seconds`,
    dlq: { queue: deadLetters.arn, retry: maxReceives },
  });
  const bucket = new sst.aws.Bucket("Exports", {
    cors: { allowOrigins: origins, allowMethods: ["GET"], allowHeaders: [], maxAge: "1 hour" },
    lifecycle: [{ id: "after-a-day", expiresIn: "1 day" }],
    transform: {
      lifecycle: (args) => {
        args.rules = $resolve([args.rules]).apply(([rules]) =>
          (rules ?? []).map((rule) => ({ ...rule, abortIncompleteMultipartUpload: { daysAfterInitiation: 1 } })),
        );
      },
    },
  });

  const files = $interpolate`${bucket.arn}/exports/*`;
  const permissions: Record<Use, { actions: string[]; resources: $util.Input<string>[] }[]> = {
    "send jobs": [{ actions: ["sqs:SendMessage"], resources: [queue.arn] }],
    "read files": [{ actions: ["s3:GetObject"], resources: [files] }],
    "write files": [{ actions: ["s3:PutObject"], resources: [files] }],
    "delete files": [{ actions: ["s3:DeleteObject", "s3:AbortMultipartUpload"], resources: [files] }],
  };
  return {
    use: (uses: Use[]) => ({
      permissions: uses.flatMap((use) => permissions[use]),
      environment: {
        ...(uses.includes("send jobs") ? { JOBS_QUEUE_URL: queue.url } : {}),
        ...(uses.some((use) => use.endsWith("files")) ? { FILES_BUCKET: bucket.name } : {}),
      },
    }),
    subscribe: (handler: sst.aws.FunctionArgs) =>
      queue.subscribe(handler, {
        batch: { size: 1, partialResponses: true },
        transform: {
          eventSourceMapping: (args) => {
            args.scalingConfig = { maximumConcurrency: concurrentWorkers };
          },
        },
      }),
    queueName: queue.nodes.queue.name,
    deadLettersName: deadLetters.nodes.queue.name,
  };
}

/** What it uses of infra/jobs.ts. */
interface Jobs {
  visibilitySeconds: number;
  deadLetterDays: number;
  maxReceives: number;
  concurrentWorkers: number;
}

type Use = "send jobs" | "read files" | "write files" | "delete files";
