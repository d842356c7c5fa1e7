// tronweb, unmodified, on a devnet: sends, allows and takes USDT, fails to, deploys a token of its own, reads events.
//
// Arguments: folder with tronweb's node_modules, URL of the devnet, address of USDT, ABI and bytecode of a token (a
// JSON file). Writes one JSON object to stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, usdtAddress, tokenFile] = process.argv.slice(2);
const { TronWeb } = createRequire(path.join(folder, "package.json"))("tronweb");
const tronWeb = new TronWeb({ fullHost: url });

const admin = (call, method = "get", body = {}) => tronWeb.fullNode.request(`admin/${call}`, body, method);
const mine = (blocks = 1) => admin(`mine?blocks=${blocks}`, "post");
const { privateKeys } = await admin("accounts-json");
const [owner, spender] = privateKeys.map((key) => TronWeb.address.fromPrivateKey(key));
const as = (index) => tronWeb.setPrivateKey(privateKeys[index]);
const receipt = async (txid) => {
  await mine();
  return tronWeb.trx.getUnconfirmedTransactionInfo(txid);
};
const found = {};

await admin("faucet", "post", { address: owner, token: "USDT", amount: 1_000_000_000 });
await mine();

as(0);
const usdt = await tronWeb.contract().at(usdtAddress);
found.about = [await usdt.name().call(), await usdt.symbol().call(), Number(await usdt.decimals().call())];
found.before = String(await usdt.balanceOf(owner).call());

const brief = ({ receipt: bill, result, resMessage, log = [] }) => ({
  result: bill.result,
  energy: bill.energy_usage_total,
  failed: result ?? null,
  message: resMessage ? Buffer.from(resMessage, "hex").toString() : null,
  amounts: log.map(({ data }) => parseInt(data, 16)),
});

const sent = await usdt.transfer(spender, 250_000_000).send({ feeLimit: 50_000_000 });
found.transfer = brief(await receipt(sent));
found.between = [String(await usdt.balanceOf(owner).call()), String(await usdt.balanceOf(spender).call())];
const tooMuch = await usdt.transfer(spender, "1000000000000").send();
found.tooMuch = brief(await receipt(tooMuch));
const starved = await usdt.transfer(spender, 1).send({ feeLimit: 1_000 });
found.starved = brief(await receipt(starved));

found.approve = brief(await receipt(await usdt.approve(spender, 70_000_000).send()));
found.approveAgain = brief(await receipt(await usdt.approve(spender, 80_000_000).send()));
as(1);
found.taken = brief(await receipt(await usdt.transferFrom(owner, spender, 30_000_000).send()));
found.allowance = String(await usdt.allowance(owner, spender).call());
found.tooMuchTaken = brief(await receipt(await usdt.transferFrom(owner, spender, 40_000_001).send()));

const parameter = [
  { type: "address", value: owner },
  { type: "uint256", value: 5 },
];
const estimated = await tronWeb.transactionBuilder.estimateEnergy(usdtAddress, "transfer(address,uint256)", {}, parameter, spender);
found.estimate = estimated.energy_required;
const constant = await tronWeb.transactionBuilder.triggerConstantContract(
  usdtAddress, "transfer(address,uint256)", {}, parameter, spender,
);
found.constant = [constant.energy_used, constant.constant_result[0].length];

// Built without the node.
const local = await tronWeb.transactionBuilder.triggerSmartContract(
  usdtAddress, "transfer(address,uint256)", { txLocal: true, feeLimit: 50_000_000 }, parameter, spender,
);
const broadcast = await tronWeb.trx.sendRawTransaction(await tronWeb.trx.sign(local.transaction));
found.local = brief(await receipt(broadcast.transaction.txID));

// A contract of its own.
as(0);
const { abi, bytecode } = JSON.parse(readFileSync(tokenFile));
const create = await tronWeb.transactionBuilder.createSmartContract(
  { abi, bytecode, feeLimit: 200_000_000, parameters: [owner, "1000000"], name: "Mine", originEnergyLimit: 100_000 }, owner,
);
const deployed = await tronWeb.trx.sendRawTransaction(await tronWeb.trx.sign(create));
const made = await receipt(create.txID);
found.deployed = {
  taken: deployed.result,
  result: made.receipt.result,
  same: made.contract_address === create.contract_address,
  address: create.contract_address,
};
const token = await tronWeb.contract().at(create.contract_address);
found.reason = await tronWeb.transactionBuilder
  .triggerConstantContract(create.contract_address, "transfer(address,uint256)", {}, [
    { type: "address", value: owner },
    { type: "uint256", value: 1 },
  ], spender)
  .catch((error) => String(error));
found.mine = brief(await receipt(await token.transfer(spender, 400).send()));
found.mineAfter = String(await token.balanceOf(spender).call());
const info = await tronWeb.trx.getContract(create.contract_address);
found.contract = [info.name, info.origin_energy_limit, info.abi.entrys.length];

await mine(20);
found.solid = brief(await tronWeb.trx.getTransactionInfo(sent));
found.events = (await tronWeb.getEventByTransactionID(sent)).data?.map(({ event_name, result }) => [event_name, result.value]);
process.stdout.write(JSON.stringify(found, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
