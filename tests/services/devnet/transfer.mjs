// tronweb, unmodified, on a devnet: makes an account, pays it, and reads everything back.
//
// Arguments: folder with tronweb's node_modules, URL of the devnet. Writes one JSON object to stdout.
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url] = process.argv.slice(2);
const { TronWeb, utils } = createRequire(path.join(folder, "package.json"))("tronweb");
const tronWeb = new TronWeb({ fullHost: url });

const admin = (call, method = "get") => tronWeb.fullNode.request(`admin/${call}`, {}, method);
const mine = (blocks) => admin(`mine?blocks=${blocks}`, "post");
const found = {};

const { privateKeys } = await admin("accounts-json");
await admin("temporary-accounts-generation?accounts=2");
const { more } = await admin("accounts-json");
found.temporary = await Promise.all(
  more.at(-1).privateKeys.map((key) => tronWeb.trx.getUnconfirmedBalance(TronWeb.address.fromPrivateKey(key))),
);

found.connected = await tronWeb.isConnected();
const own = TronWeb.address.fromPrivateKey(privateKeys[0]);
tronWeb.setPrivateKey(privateKeys[0]);
const { address } = await tronWeb.createAccount();
const to = address.base58;

// The whole way by hand: build, sign, send, read unsolid, then solid.
const built = await tronWeb.transactionBuilder.sendTrx(to, 5_000_000, own);
const signed = await tronWeb.trx.sign(built, privateKeys[0]);
const sent = await tronWeb.trx.sendRawTransaction(signed);
found.sent = { result: sent.result, same: sent.transaction.txID === built.txID };
found.again = await tronWeb.trx.sendRawTransaction(signed);
await mine(1);
found.unsolid = {
  balance: await tronWeb.trx.getUnconfirmedBalance(to),
  info: await tronWeb.trx.getUnconfirmedTransactionInfo(built.txID),
  account: await tronWeb.trx.getUnconfirmedAccount(to),
};
found.notYetSolid = {
  balance: await tronWeb.trx.getBalance(to),
  info: await tronWeb.trx.getTransactionInfo(built.txID),
};
await mine(18);
found.solid = {
  balance: await tronWeb.trx.getBalance(to),
  info: await tronWeb.trx.getTransactionInfo(built.txID),
  transaction: await tronWeb.trx.getConfirmedTransaction(built.txID),
};

// In one call, with a memo, and by the hex call.
const direct = await tronWeb.trx.sendTransaction(to, 7);
found.direct = direct.result;
const noted = await tronWeb.transactionBuilder.addUpdateData(
  await tronWeb.transactionBuilder.sendTrx(to, 8, own), "thanks", "utf8", { txLocal: true },
);
const notedSigned = await tronWeb.trx.sign(noted, privateKeys[0]);
found.hex = await tronWeb.trx.sendHexTransaction(bytesToHex(utils.transaction.txJsonToPb(notedSigned), notedSigned));
await mine(1);
found.noted = await tronWeb.trx.getUnconfirmedTransactionInfo(noted.txID);

function bytesToHex(pb, transaction) {
  for (const signature of transaction.signature) pb.addSignature(Uint8Array.from(Buffer.from(signature, "hex")));
  return Buffer.from(pb.serializeBinary()).toString("hex");
}

// Refusals.
found.poor = await attempt(() => tronWeb.trx.sendTransaction(to, 9_000_000_000_000));
found.forged = await attempt(async () => {
  const other = await tronWeb.transactionBuilder.sendTrx(own, 1, to);
  return tronWeb.trx.sendRawTransaction(await tronWeb.trx.sign(other, privateKeys[0], true, true));
});

async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    return { thrown: String(error.message ?? error) };
  }
}

// Reading.
const block = await tronWeb.trx.getCurrentBlock();
found.blocks = {
  byNumber: (await tronWeb.trx.getBlockByNumber(block.block_header.raw_data.number)).blockID === block.blockID,
  byHash: (await tronWeb.trx.getBlockByHash(block.blockID)).blockID === block.blockID,
  range: (await tronWeb.trx.getBlockRange(1, 5)).length,
  count: await tronWeb.trx.getBlockTransactionCount(block.blockID),
  confirmed: (await tronWeb.trx.getConfirmedCurrentBlock()).block_header.raw_data.number,
};
found.head = block.block_header.raw_data.number;
found.bandwidth = await tronWeb.trx.getBandwidth(own);
found.resources = await tronWeb.trx.getAccountResources(own);
found.parameters = (await tronWeb.trx.getChainParameters()).length;
found.prices = [await tronWeb.trx.getBandwidthPrices(), await tronWeb.trx.getEnergyPrices()];
found.witnesses = (await tronWeb.trx.listSuperRepresentatives()).length;
found.nodeInfo = (await tronWeb.trx.getNodeInfo()).configNodeInfo.codeVersion;
found.reward = await tronWeb.trx.getReward(own);
found.brokerage = await tronWeb.trx.getBrokerage(own);
found.weight = (await tronWeb.trx.getSignWeight(signed)).current_weight;
found.approved = (await tronWeb.trx.getApprovedList(signed)).approved_list.length;
found.own = own;
found.to = to;
console.log(JSON.stringify(found));
