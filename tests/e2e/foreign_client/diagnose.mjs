// Uploads a model and an input, asks for a diagnosis, watches it, reads it, and prints what it saw as JSON.
// Usage: node diagnose.mjs HOST:PORT PROTO_FOLDER MODEL_FILE
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [target, protoFolder, modelFile] = process.argv.slice(2);
const CHUNK_BYTES = 1000; // far below the limit, so that there are several
const DEADLINE_MS = 60_000;

const definition = protoLoader.loadSync(
  ["artifact", "diagnosis", "server"].map((name) => join("gradclinic", "v1", `${name}.proto`)),
  { includeDirs: [protoFolder], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);
const { gradclinic } = grpc.loadPackageDefinition(definition);
const connect = (Service) => new Service(target, grpc.credentials.createInsecure());
const artifacts = connect(gradclinic.v1.ArtifactService);
const diagnoses = connect(gradclinic.v1.DiagnosisService);
const server = connect(gradclinic.v1.ServerService);

const deadline = () => ({ deadline: Date.now() + DEADLINE_MS });
const call = (client, method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, new grpc.Metadata(), deadline(), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

// A safetensors file is the header's length (64-bit little-endian), a JSON header, and the bytes.
function safetensors(name, shape, values) {
  const bytes = Buffer.from(Float32Array.from(values).buffer);
  const header = Buffer.from(JSON.stringify({ [name]: { dtype: "F32", shape, data_offsets: [0, bytes.length] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, bytes]);
}

function upload(bytes, kind, format) {
  return new Promise((resolve, reject) => {
    const stream = artifacts.UploadArtifact(new grpc.Metadata(), deadline(), (error, artifact) =>
      error ? reject(error) : resolve(artifact),
    );
    stream.write({ declaration: { kind, format, size_bytes: bytes.length, sha256: sha256(bytes) } });
    for (let offset = 0; offset < bytes.length; offset += CHUNK_BYTES) {
      stream.write({ chunk: { offset_bytes: offset, content: bytes.subarray(offset, offset + CHUNK_BYTES) } });
    }
    stream.end();
  });
}

function watch(id) {
  return new Promise((resolve, reject) => {
    const states = [];
    const stream = diagnoses.WatchDiagnosis({ id }, new grpc.Metadata(), deadline());
    stream.on("data", (event) => states.push(event.state));
    stream.on("error", reject);
    stream.on("end", () => resolve(states));
  });
}

const info = await call(server, "GetServerInfo", {});
const missing = await call(artifacts, "GetArtifact", { sha256: "0".repeat(64) }).catch((error) => error.code);
const values = Array.from({ length: 32 }, (_, index) => Math.sin(index));
const model = await upload(readFileSync(modelFile), "ARTIFACT_KIND_MODEL", "ARTIFACT_FORMAT_TORCHSCRIPT");
const inputs = await upload(
  safetensors("0", [4, 8], values),
  "ARTIFACT_KIND_TENSORS",
  "ARTIFACT_FORMAT_SAFETENSORS",
);
const request = {
  request_id: randomUUID(),
  spec: { model_sha256: model.sha256, inputs_sha256: inputs.sha256, depth: "DEPTH_QUICK", run: "foreign" },
};
const created = await call(diagnoses, "CreateDiagnosis", request);
const again = await call(diagnoses, "CreateDiagnosis", request);
const states = await watch(created.id);
const read = await call(diagnoses, "GetDiagnosis", { id: created.id });
const listed = await call(diagnoses, "ListDiagnoses", { filter: { run: "foreign" } });
console.log(
  JSON.stringify({
    version: info.version,
    missing,
    id: created.id,
    same: again.id === created.id,
    states,
    state: read.state,
    failure: read.failure,
    findings: (read.result?.findings ?? []).map((finding) => finding.code),
    sites: read.result?.sites.length,
    listed: listed.diagnoses.map((diagnosis) => diagnosis.id),
  }),
);
