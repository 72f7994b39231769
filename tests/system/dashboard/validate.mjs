// Checks a dashboard against Grafana's own types: node validate.mjs DASHBOARD.json
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import { createGenerator } from "ts-json-schema-generator";

const here = dirname(fileURLToPath(import.meta.url));
const schema = createGenerator({
  path: join(here, "dashboard.ts"),
  type: "GradclinicDashboard",
  skipTypeCheck: true,
  additionalProperties: false,
  expose: "none",
}).createSchema("GradclinicDashboard");

const valid = new Ajv({ allErrors: true, strict: false }).compile(schema);
if (!valid(JSON.parse(readFileSync(process.argv[2], "utf8")))) {
  for (const fault of valid.errors) {
    console.error(`${fault.instancePath} ${fault.message} ${JSON.stringify(fault.params)}`);
  }
  process.exit(1);
}
console.log("valid");
