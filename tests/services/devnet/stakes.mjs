// tronweb, unmodified, on a devnet: stakes, lends, votes, claims, takes everything back, and shares an account.
//
// Arguments: folder with tronweb's node_modules, URL of the devnet. Writes one JSON object to stdout.
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url] = process.argv.slice(2);
const { TronWeb } = createRequire(path.join(folder, "package.json"))("tronweb");
const tronWeb = new TronWeb({ fullHost: url });
const builder = tronWeb.transactionBuilder;

const admin = (call, method = "get") => tronWeb.fullNode.request(`admin/${call}`, {}, method);
const mine = (blocks = 1, skipS = 0) => admin(`mine?blocks=${blocks}&skip_s=${skipS}`, "post");
const found = {};

const { privateKeys } = await admin("accounts-json");
const [own, other, friend, thief] = privateKeys.map((key) => TronWeb.address.fromPrivateKey(key));
tronWeb.setPrivateKey(privateKeys[0]);

// Signs, sends, lets a block have it, and returns the bill.
async function land(built, keys = [privateKeys[0]]) {
  let signed = built;
  for (const key of keys) signed = await tronWeb.trx.multiSign(signed, key);
  const sent = await tronWeb.trx.sendRawTransaction(signed);
  if (!sent.result) return { code: sent.code, message: Buffer.from(sent.message, "hex").toString() };
  await mine();
  return tronWeb.trx.getUnconfirmedTransactionInfo(built.txID);
}
const account = () => tronWeb.trx.getUnconfirmedAccount(own);

// Stake for both, and read it.
found.created = await land(await builder.createAccount((await tronWeb.createAccount()).address.base58, own));
await land(await builder.freezeBalanceV2(6_000e6, "ENERGY", own));
await land(await builder.freezeBalanceV2(4_000e6, "BANDWIDTH", own));
found.staked = (await account()).frozenV2;
const free = (await tronWeb.trx.getAccountResources(own)).freeNetUsed;
await land(await builder.sendTrx(other, 1, own));
const resources = await tronWeb.trx.getAccountResources(own);
found.resources = { ...resources, freeUnchanged: resources.freeNetUsed === free };
found.tooMuch = await land(await builder.freezeBalanceV2(9_000_000e6, "ENERGY", own));

// Vote, and wait for two maintenances.
const [first, second] = (await tronWeb.trx.listSuperRepresentatives()).map(({ address }) => address);
await land(await builder.vote({ [first]: 6_000, [second]: 1_000 }, own));
found.votes = (await account()).votes;
found.tooManyVotes = await land(await builder.vote({ [first]: 10_001 }, own));
await mine(3, 300);
const counted = (await tronWeb.trx.listSuperRepresentatives()).find(({ address }) => address === first);
found.counted = counted.voteCount;
await mine(60);
await mine(20, 300);
found.reward = await tronWeb.trx.getUnconfirmedReward(own);
found.claimed = (await land(await builder.withdrawBlockRewards(own))).withdraw_amount;
found.claimedTwice = await land(await builder.withdrawBlockRewards(own));

// Lend, with a lock and without, and take it back.
found.canLend = (await tronWeb.trx.getCanDelegatedMaxSize(own, "ENERGY", { confirmed: false })).max_size;
await land(await builder.delegateResource(1_000e6, other, "ENERGY", own));
await land(await builder.delegateResource(500e6, other, "ENERGY", own, true, 100));
found.lent = (await tronWeb.trx.getDelegatedResourceV2(own, other, { confirmed: false })).delegatedResource;
found.index = await tronWeb.trx.getDelegatedResourceAccountIndexV2(own, { confirmed: false });
found.lender = (await account()).account_resource.delegated_frozenV2_balance_for_energy;
const borrower = await tronWeb.trx.getUnconfirmedAccount(other);
found.borrower = borrower.account_resource.acquired_delegated_frozenV2_balance_for_energy;
found.locked = await land(await builder.undelegateResource(1_001e6, other, "ENERGY", own));
await mine(1, 303);
await land(await builder.undelegateResource(1_500e6, other, "ENERGY", own));
found.lentAfter = await tronWeb.trx.getDelegatedResourceV2(own, other, { confirmed: false });

// Unstake, stay after all, unstake again, and withdraw after 14 days.
await land(await builder.unfreezeBalanceV2(100e6, "ENERGY", own));
found.unfreezing = (await account()).unfrozenV2.map(({ type, unfreeze_amount }) => [type, unfreeze_amount]);
found.left = (await tronWeb.trx.getAvailableUnfreezeCount(own, { confirmed: false })).count;
found.cancelled = (await land(await builder.cancelUnfreezeBalanceV2(own))).cancel_unfreezeV2_amount;
await land(await builder.unfreezeBalanceV2(5_000e6, "ENERGY", own));
found.shrunk = (await account()).votes.map(({ vote_count }) => vote_count);
found.early = await land(await builder.withdrawExpireUnfreeze(own));
await mine(1, 14 * 86_400);
found.canWithdraw = (await tronWeb.trx.getCanWithdrawUnfreezeAmount(own, Date.now() + 30 * 864e5, { confirmed: false })).amount;
found.withdrawn = (await land(await builder.withdrawExpireUnfreeze(own))).withdraw_expire_amount;

// Two of three keys.
const keys = [other, friend, thief].map((address) => ({ address, weight: 1 }));
const owner = { type: 0, permission_name: "owner", threshold: 2, keys };
const operations = "7fff1fc0033ef30f".padEnd(64, "0");
const active = { type: 2, permission_name: "pay", threshold: 2, keys, operations };
found.permissions = (await land(await builder.updateAccountPermissions(own, owner, undefined, [active]))).fee;
const shown = await account();
found.shown = {
  owner: [shown.owner_permission.threshold, shown.owner_permission.keys.length],
  active: [shown.active_permission[0].id, shown.active_permission[0].permission_name],
};
const shared = await builder.sendTrx(other, 5, own, { permissionId: 2 });
const once = await tronWeb.trx.multiSign(shared, privateKeys[1], 2);
const weighed = await tronWeb.trx.getSignWeight(once, 2);
found.weighed = [weighed.current_weight, weighed.result.code, weighed.approved_list.length];
found.alone = await tronWeb.trx.sendRawTransaction(once);
const twice = await tronWeb.trx.multiSign(once, privateKeys[2], 2);
found.enough = (await tronWeb.trx.getSignWeight(twice, 2)).current_weight;
found.approved = (await tronWeb.trx.getApprovedList(twice)).approved_list;
found.approvedExpected = [other, friend].map((address) => TronWeb.address.toHex(address));
const sent = await tronWeb.trx.sendRawTransaction(twice);
await mine();
found.together = { result: sent.result, fee: (await tronWeb.trx.getUnconfirmedTransactionInfo(shared.txID)).fee };
console.log(JSON.stringify(found));
