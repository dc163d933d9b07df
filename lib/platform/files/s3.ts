import { aws, send } from "../aws.ts";
import { awsEnvironment } from "../config.ts";
import { UnexpectedAnswer } from "../errors.ts";
import type { Files } from "./model.ts";

/**
 * Files in a bucket of S3, by multipart uploads.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
export function bucket(name: string): Files {
  const { AWS_REGION, AWS_ENDPOINT_URL_S3 } = awsEnvironment();
  const base = AWS_ENDPOINT_URL_S3
    ? `${AWS_ENDPOINT_URL_S3}/${name}`
    : `https://${name}.s3.${AWS_REGION}.amazonaws.com`;
  const urlOf = (file: string, query = "") => `${base}/${file}${query}`;
  const ask = (method: string, url: string, body?: Buffer | string) =>
    send(aws("s3"), url, { method, body: body ?? null });

  return {
    async begin(file) {
      const answer = await ask("POST", urlOf(file, "?uploads="));
      const [, upload] = /<UploadId>([^<]+)<\/UploadId>/.exec(await textOf(answer, [200])) ?? [];
      if (!upload) throw new UnexpectedAnswer("S3 began an upload without an id");
      return upload;
    },

    async put(file, upload, number, bytes) {
      const answer = await ask(
        "PUT",
        urlOf(file, `?partNumber=${number}&uploadId=${encodeURIComponent(upload)}`),
        bytes,
      );
      await textOf(answer, [200]);
      const etag = answer.headers.get("etag");
      if (!etag) throw new UnexpectedAnswer("S3 stored a part without an ETag");
      return { number, etag };
    },

    async finish(file, upload, parts) {
      const rows = parts.map(
        ({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`,
      );
      const body = `<CompleteMultipartUpload>${rows.join("")}</CompleteMultipartUpload>`;
      const answer = await ask("POST", urlOf(file, `?uploadId=${encodeURIComponent(upload)}`), body);
      const text = await textOf(answer, [200, 404]);
      // S3 begins its answer with 200 before it knows, and may put an error into it.
      if (answer.status === 200 && !text.includes("<Error>")) return;
      // An upload that is finished already is unknown to S3; nobody else writes a file of this name.
      await textOf(await ask("HEAD", urlOf(file)), [200]);
    },

    async discard(file, upload) {
      if (upload) await textOf(await ask("DELETE", urlOf(file, `?uploadId=${encodeURIComponent(upload)}`)), [204, 404]);
      await textOf(await ask("DELETE", urlOf(file)), [204, 404]);
    },

    async link(file, { seconds, saveAs, type }) {
      const url = new URL(urlOf(file));
      url.searchParams.set("X-Amz-Expires", String(seconds));
      url.searchParams.set("response-content-disposition", `attachment; filename="${saveAs}"`);
      url.searchParams.set("response-content-type", type);
      return (await aws("s3").sign(url.href, { aws: { signQuery: true } })).url;
    },
  };
}

/** An answer's body. @throws When it has another status: what S3 writes into an error names the bucket, and is dropped. */
async function textOf(answer: Response, statuses: number[]): Promise<string> {
  const text = await answer.text();
  if (statuses.includes(answer.status)) return text;
  throw Object.assign(new UnexpectedAnswer("S3 refused a request"), { status: answer.status });
}
