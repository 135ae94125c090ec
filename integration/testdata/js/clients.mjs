// What JavaScript clients do, against the server that ENDPOINT, BUCKET, ACCESS_KEY
// and SECRET_KEY name. It prints ok, or fails with what went wrong.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import {
  CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import * as Minio from "minio";

const { ENDPOINT, BUCKET: Bucket, ACCESS_KEY, SECRET_KEY } = process.env;
const small = randomBytes(70_000);
const large = randomBytes(12 * 1024 * 1024 + 5);
const md5 = (data) => createHash("md5").update(data).digest("hex");

async function aws() {
  const s3 = new S3Client({
    endpoint: ENDPOINT, region: "us-east-1", forcePathStyle: true,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
  });
  const Key = "aws/small ü+.bin";
  const put = await s3.send(new PutObjectCommand({ Bucket, Key, Body: small, Metadata: { color: "blue" } }));
  assert.equal(put.ETag, `"${md5(small)}"`);
  assert.equal(put.ServerSideEncryption, "AES256");
  const got = await s3.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: "ENABLED" }));
  assert.deepEqual(Buffer.from(await got.Body.transformToByteArray()), small);
  assert.equal(got.Metadata.color, "blue");
  const range = await s3.send(new GetObjectCommand({ Bucket, Key, Range: "bytes=65530-65545" }));
  assert.deepEqual(Buffer.from(await range.Body.transformToByteArray()), small.subarray(65530, 65546));

  const upload = new Upload({
    client: s3, partSize: 5 * 1024 * 1024, params: { Bucket, Key: "aws/large", Body: Readable.from(chunks(large)), ServerSideEncryption: "aws:kms" },
  });
  assert.match((await upload.done()).ETag, /-3"$/);
  const whole = await s3.send(new GetObjectCommand({ Bucket, Key: "aws/large" }));
  assert.deepEqual(Buffer.from(await whole.Body.transformToByteArray()), large);
  assert.equal(whole.ServerSideEncryption, "aws:kms");

  await s3.send(new CopyObjectCommand({ Bucket, Key: "aws/copy", CopySource: `${Bucket}/aws/large` }));
  assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: "aws/copy" }))).ContentLength, large.length);
  const list = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: "aws/" }));
  assert.deepEqual(list.Contents.map((o) => [o.Key, o.Size]), [["aws/copy", large.length], ["aws/large", large.length], [Key, small.length]]);
  await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: list.Contents.map((o) => ({ Key: o.Key })) } }));
  assert.equal((await s3.send(new ListObjectsV2Command({ Bucket, Prefix: "aws/" }))).KeyCount, 0);
}

// chunks gives data in odd pieces, as a stream of unknown length.
function* chunks(data) {
  for (let at = 0; at < data.length; at += 100_003) yield data.subarray(at, at + 100_003);
}

async function minio() {
  const at = new URL(ENDPOINT);
  const client = new Minio.Client({
    endPoint: at.hostname, port: Number(at.port), useSSL: false, accessKey: ACCESS_KEY, secretKey: SECRET_KEY, region: "us-east-1",
    partSize: 5 * 1024 * 1024,
  });
  await client.putObject(Bucket, "minio/small", small, small.length, { "Content-Type": "text/plain", "X-Amz-Meta-Color": "red" });
  const stat = await client.statObject(Bucket, "minio/small");
  assert.equal(stat.size, small.length);
  assert.equal(stat.etag, md5(small));
  assert.equal(stat.metaData.color, "red");
  assert.deepEqual(await buffer(await client.getObject(Bucket, "minio/small")), small);
  assert.deepEqual(await buffer(await client.getPartialObject(Bucket, "minio/small", 10, 20)), small.subarray(10, 30));
  await client.putObject(Bucket, "minio/large", Readable.from(chunks(large)));
  assert.deepEqual(await buffer(await client.getObject(Bucket, "minio/large")), large);

  const link = await client.presignedGetObject(Bucket, "minio/small", 60);
  assert.deepEqual(Buffer.from(await (await fetch(link)).arrayBuffer()), small);
  const policy = client.newPostPolicy();
  policy.setBucket(Bucket);
  policy.setKey("minio/form");
  policy.setContentLengthRange(1, 1024 * 1024);
  policy.setExpires(new Date(Date.now() + 60_000));
  const { postURL, formData } = await client.presignedPostPolicy(policy);
  const form = new FormData();
  for (const [name, value] of Object.entries(formData)) form.append(name, value);
  form.append("file", new Blob([small]), "small");
  const posted = await fetch(postURL, { method: "POST", body: form });
  assert.equal(posted.status, 204, await posted.text());
  assert.deepEqual(await buffer(await client.getObject(Bucket, "minio/form")), small);
}

await aws();
await minio();
console.log("ok");
