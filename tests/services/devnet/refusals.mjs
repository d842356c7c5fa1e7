// tronweb, unmodified, on a devnet: sends whatever it is given, and tells what was answered.
//
// Arguments: folder with tronweb's node_modules, URL of the devnet, JSON file with signed transactions. Writes the list
// of answers to stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, file] = process.argv.slice(2);
const { TronWeb } = createRequire(path.join(folder, "package.json"))("tronweb");
const tronWeb = new TronWeb({ fullHost: url });

const answers = [];
for (const transaction of JSON.parse(readFileSync(file))) {
  answers.push(await tronWeb.trx.sendRawTransaction(transaction));
}
process.stdout.write(JSON.stringify(answers));
