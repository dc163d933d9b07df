import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { AwsClient } from "aws4fetch";
import type { JobMessage } from "../../lib/jobs/model.ts";

const credentials = { AWS_ACCESS_KEY_ID: "AKIATEST", AWS_SECRET_ACCESS_KEY: "a secret of the tests" };
const minPartBytes = 5 * 1024 * 1024;

type Upload = { key: string; parts: Map<number, { etag: string; bytes: Buffer }> };

/** As much of S3 and SQS as exports use, with S3's own rules: signatures, sizes and ETags of parts, one end per upload. */
export interface Aws {
  url: string;
  /** The settings with which the API uses it; `at` is another address of it, such as a proxy's. */
  environment(at?: string): Record<string, string>;
  objects: Map<string, Buffer>;
  uploads: Map<string, Upload>;
  messages: JobMessage[];
  /** Called before each call has its effect, with its name: `POST uploads`, `PUT part`, `POST complete`, `DELETE …`, `send`. */
  before: (call: string) => Promise<void> | void;
  stop(): Promise<void>;
}

export async function anAws(): Promise<Aws> {
  const server = createServer((request, response) => {
    handle(request, response).catch((error) => response.writeHead(500).end(String(error)));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const aws: Aws = {
    url,
    environment: (at = url) => ({
      ...credentials,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_S3: at,
      FILES_BUCKET: "files",
      JOBS_QUEUE_URL: `${at}/queue`,
    }),
    objects: new Map(),
    uploads: new Map(),
    messages: [],
    before: () => {},
    stop: async () => {
      server.closeAllConnections();
      server.close();
    },
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const { method = "" } = request;
    const target = new URL(request.url ?? "", url);
    const service = request.headers["x-amz-target"] ? "sqs" : "s3";
    if (!(await isSigned(request, target, body, service))) return void response.writeHead(403).end();
    const [part, upload] = [target.searchParams.get("partNumber"), target.searchParams.get("uploadId")];
    const what =
      service === "sqs"
        ? "send"
        : target.searchParams.has("uploads")
          ? "uploads"
          : part
            ? "part"
            : upload
              ? method === "POST"
                ? "complete"
                : "abort"
              : "object";
    await aws.before(service === "sqs" ? "send" : `${method} ${what}`);
    if (service === "sqs") {
      aws.messages.push(JSON.parse(JSON.parse(body.toString()).MessageBody));
      return void response.end("{}");
    }
    const key = target.pathname.slice("/files/".length);
    const [status, text = "", headers = {}] = answer(`${method} ${what}`, key, {
      part: Number(part),
      upload: upload ?? "",
      body,
    });
    response.writeHead(status, headers).end(text);
  }

  type Answer = [status: number, text?: string | Buffer, headers?: Record<string, string>];
  function answer(
    what: string,
    key: string,
    { part, upload, body }: { part: number; upload: string; body: Buffer },
  ): Answer {
    if (what === "POST uploads") {
      const id = `${crypto.randomUUID()}_`;
      aws.uploads.set(id, { key, parts: new Map() });
      return [200, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`];
    }
    if (what.endsWith("object")) {
      if (what.startsWith("DELETE")) {
        aws.objects.delete(key);
        return [204];
      }
      const found = aws.objects.get(key);
      return found ? [200, what.startsWith("HEAD") ? "" : found] : [404];
    }
    const open = aws.uploads.get(upload);
    if (open?.key !== key) return [404, "<Error><Code>NoSuchUpload</Code></Error>"];
    if (what === "PUT part") {
      const etag = `"${createHash("md5").update(body).digest("hex")}"`;
      open.parts.set(part, { etag, bytes: body });
      return [200, "", { etag }];
    }
    if (what === "DELETE abort") {
      aws.uploads.delete(upload);
      return [204];
    }
    const listed = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g)];
    const numbers = listed.map(([, number]) => Number(number));
    const parts = listed.map(([, number, etag]) => [open.parts.get(Number(number)), etag] as const);
    if (parts.length === 0 || parts.some(([found, etag]) => found?.etag !== etag))
      return [400, "<Error><Code>InvalidPart</Code></Error>"];
    if (numbers.some((number, i) => number <= (numbers[i - 1] ?? 0)))
      return [400, "<Error><Code>InvalidPartOrder</Code></Error>"];
    if (parts.slice(0, -1).some(([found]) => (found?.bytes.length ?? 0) < minPartBytes))
      return [400, "<Error><Code>EntityTooSmall</Code></Error>"];
    aws.objects.set(key, Buffer.concat(parts.map(([found]) => found?.bytes ?? Buffer.alloc(0))));
    aws.uploads.delete(upload);
    return [200, "<CompleteMultipartUploadResult/>"];
  }
  return aws;
}

/** Signs the request again, and compares. Of a request through a proxy, the host is the proxy's. */
async function isSigned(request: IncomingMessage, target: URL, body: Buffer, service: string): Promise<boolean> {
  const { authorization = "", "x-amz-date": datetime, host = "", ...headers } = request.headers;
  const [, names = ""] = /SignedHeaders=([^,]+)/.exec(authorization) ?? [];
  const client = new AwsClient({
    accessKeyId: credentials.AWS_ACCESS_KEY_ID,
    secretAccessKey: credentials.AWS_SECRET_ACCESS_KEY,
    service,
    region: "us-east-1",
  });
  const signed = names.split(";").filter((name) => name !== "host" && name !== "x-amz-date");
  const own = await client.sign(`http://${host}${target.pathname}${target.search}`, {
    method: request.method ?? "",
    headers: Object.fromEntries(signed.map((name) => [name, String(headers[name])])),
    ...(body.length > 0 ? { body } : {}),
    aws: { datetime: String(datetime) },
  });
  return own.headers.get("authorization") === authorization;
}
