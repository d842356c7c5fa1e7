// Compiles the two tokens: writes <name>.json with ABI and bytecode beside its source. Run it after changing one:
//
//     cd services/devnet/tokens && npm install && node compile.mjs
//
// Given a directory it writes there instead. The hash of the source goes into the file: a test holds that nobody changes
// one without the other.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const here = new URL(".", import.meta.url).pathname;
const target = process.argv[2] ?? here;

// The old compiler is the one whose habits the original of the first token was written for.
const TOKENS = { UsdtToken: "solc-0.4", PlainToken: "solc-0.8" };

for (const [name, compiler] of Object.entries(TOKENS)) {
  const solc = require(compiler);
  const source = `${name}.sol`;
  const content = readFileSync(here + source, "utf8");
  const input = {
    language: "Solidity",
    sources: { [source]: { content } },
    settings: {
      optimizer: { enabled: true, runs: 200 },
      outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
    },
  };
  const compile = solc.compileStandardWrapper ?? solc.compile;
  const output = JSON.parse(compile(JSON.stringify(input)));
  const errors = (output.errors ?? []).filter((error) => error.severity === "error");
  if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
  const { abi, evm } = output.contracts[source][name];
  const hash = createHash("sha256").update(content).digest("hex");
  const made = { source: hash, compiler: solc.version(), abi, bytecode: evm.bytecode.object };
  writeFileSync(`${target}/${name}.json`, JSON.stringify(made, null, 1) + "\n");
}
