// Reads a JSON list of cases from stdin, and writes what tronweb makes of each of them to stdout.
//
// A case: {call, args, memo, key, ours: {transaction, signature}}. `call` is a method of tronweb's TransactionBuilder,
// `memo` is hex or null, `key` signs what tronweb built; `ours` is our JSON form of the same transaction, and our
// signature of it. The answer: {txID, raw_data_hex, raw_data, signature, reread, recovered}, where `reread` is
// what tronweb encodes from our JSON, and `recovered` is who it says has signed ours.
import { readFileSync } from "node:fs";
import { TronWeb, utils } from "tronweb";

const tronWeb = new TronWeb({ fullHost: "http://127.0.0.1:9" }); // nothing listens there: all is built locally

async function build({ call, args, memo }) {
  const built = await tronWeb.transactionBuilder[call](...args);
  const transaction = built.transaction ?? built; // contract calls come wrapped
  return memo ? tronWeb.transactionBuilder.addUpdateData(transaction, memo, "hex", { txLocal: true }) : transaction;
}

async function answer(one) {
  const { txID, raw_data_hex, raw_data } = await build(one);
  const { signature } = utils.crypto.signTransaction(one.key, { txID });
  const { transaction, signature: ourSignature } = one.ours;
  return {
    txID,
    raw_data_hex,
    raw_data,
    signature: signature[0],
    reread: utils.transaction.txPbToRawDataHex(utils.transaction.txJsonToPb(transaction)).toLowerCase(),
    recovered: utils.crypto.ecRecover(transaction.txID, ourSignature),
  };
}

const cases = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await Promise.all(cases.map(answer))));
