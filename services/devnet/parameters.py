"""The chain parameters of the devnet: prices, limits and switches, as a java-tron 4.8.0 node answers them."""

from dataclasses import dataclass

SLOT_MS = 3_000
"""Time between two blocks (java-tron, `BLOCK_PRODUCED_INTERVAL`). Chain time moves in these steps, always."""

ACCOUNT_CREATION_BANDWIDTH_FEE_SUN = 100_000
"""Burnt instead of bandwidth by a transaction that activates an account (`getCreateAccountFee`)."""

ACCOUNT_CREATION_FEE_SUN = 1_000_000
"""Burnt for the new account itself (`getCreateNewAccountFeeInSystemContract`)."""

BANDWIDTH_PRICE_SUN = 1_000
"""Burnt for each byte when no pool covers all of them (`getTransactionFee`)."""

ENERGY_PRICE_SUN = 100
"""Burnt for each unit of energy (`getEnergyFee`)."""

FREE_BANDWIDTH = 600
"""Bytes a day that every account has for nothing (`getFreeNetLimit`)."""

INT64_MAX = (1 << 63) - 1
"""Beyond this Java's sums overflow, and the node says so."""

MEMO_FEE_SUN = 1_000_000
"""Burnt for a transaction with a memo (`getMemoFee`)."""

MULTI_SIGN_FEE_SUN = 1_000_000
"""Burnt for a transaction with more than one signature (`getMultiSignFee`)."""

MAX_CREATE_ACCOUNT_BYTES = 1_000
"""Size limit, signatures apart, of a transaction that activates an account (`getMaxCreateAccountTxSize`)."""

MAX_SIGNATURES = 5
"""Most signatures a transaction may carry (java-tron, `TOTAL_SIGN_NUM`)."""

TOTAL_BANDWIDTH = 43_200_000_000
"""Bytes a day that all stakers share (`getTotalNetLimit`)."""

TOTAL_ENERGY = 50_000_000_000
"""Energy a day that all stakers share (`getTotalEnergyCurrentLimit`)."""

BROKERAGE_PERCENT = 20
"""What a witness keeps of the rewards; the rest is its voters' (java-tron, `DEFAULT_BROKERAGE`; nobody changes it
here)."""

ACTIVE_WITNESSES = 27
"""How many make blocks (java-tron, `MAX_ACTIVE_WITNESS_NUM`)."""

STANDBY_WITNESSES = 127
"""How many are paid for their votes, those who make blocks included (java-tron, `WITNESS_STANDBY_LENGTH`)."""

BLOCK_REWARD_SUN = 32_000_000
"""Paid to the maker of a block and its voters (`getWitnessPayPerBlock`)."""

STANDBY_REWARD_SUN = 16_000_000
"""Paid with each block to the standby witnesses together, by their votes (`getWitness127PayPerBlock`)."""

MAINTENANCE_MS = 300_000
"""Length of a maintenance period (`getMaintenanceTimeInterval`; six hours on mainnet)."""

MAINTENANCE_SKIPPED_SLOTS = 2
"""Slots without a block after a maintenance (java-tron, `MAINTENANCE_SKIP_SLOTS`)."""

DAY_MS = 86_400_000
"""A day (java-tron, `FROZEN_PERIOD`)."""

UNFREEZE_DAYS = 14
"""From unstaking until the TRX can be withdrawn (`getUnfreezeDelayDays`)."""

MAX_UNFREEZING = 32
"""Most stakes of one account that are on their way back (java-tron, `UNFREEZE_MAX_TIMES`)."""

LOCK_SLOTS = 3 * DAY_MS // SLOT_MS
"""How long a delegation is locked that does not say how long (java-tron, `DELEGATE_PERIOD`)."""

MAX_LOCK_SLOTS = 864_000
"""Longest lock of a delegation (`getMaxDelegateLockPeriod`)."""

MAX_VOTES = 30
"""Most witnesses that one account votes for (java-tron, `MAX_VOTE_NUMBER`)."""

WITHDRAWAL_PAUSE_MS = DAY_MS
"""Least time between two withdrawals of rewards (java-tron, `WITNESS_ALLOWANCE_FROZEN_TIME`)."""

PERMISSION_FEE_SUN = 100_000_000
"""Burnt for an update of permissions (`getUpdateAccountPermissionFee`)."""

AVAILABLE_OPERATIONS = bytes.fromhex("7fff1fc0037ef30f").ljust(32, b"\0")
"""Contract types that an active permission may name: bit n stands for type n (java-tron, `AVAILABLE_CONTRACT_TYPE`
with the types that the parameters below switch on)."""

# What `getchainparameters` lists, in java-tron's order. A parameter whose value is 0 comes without one.
_TABLE = f"""
MaintenanceTimeInterval {MAINTENANCE_MS}
AccountUpgradeCost 9999000000
CreateAccountFee {ACCOUNT_CREATION_BANDWIDTH_FEE_SUN}
TransactionFee {BANDWIDTH_PRICE_SUN}
AssetIssueFee 1024000000
WitnessPayPerBlock {BLOCK_REWARD_SUN}
WitnessStandbyAllowance 115200000000
CreateNewAccountFeeInSystemContract {ACCOUNT_CREATION_FEE_SUN}
CreateNewAccountBandwidthRate 1
AllowCreationOfContracts 1
RemoveThePowerOfTheGr 0
EnergyFee {ENERGY_PRICE_SUN}
ExchangeCreateFee 1024000000
MaxCpuTimeOfOneTx 400
AllowUpdateAccountName 0
AllowSameTokenName 1
AllowDelegateResource 1
TotalEnergyLimit {TOTAL_ENERGY}
AllowTvmTransferTrc10 1
TotalEnergyCurrentLimit {TOTAL_ENERGY}
AllowMultiSign 1
AllowAdaptiveEnergy 0
TotalEnergyTargetLimit 3472222
TotalEnergyAverageUsage 0
UpdateAccountPermissionFee {PERMISSION_FEE_SUN}
MultiSignFee {MULTI_SIGN_FEE_SUN}
AllowAccountStateRoot 0
AllowProtoFilterNum 0
AllowTvmConstantinople 1
AllowTvmSolidity059 1
AllowTvmIstanbul 1
AllowShieldedTRC20Transaction 0
ForbidTransferToContract 1
AdaptiveResourceLimitTargetRatio 10
AdaptiveResourceLimitMultiplier 1000
ChangeDelegation 1
Witness127PayPerBlock {STANDBY_REWARD_SUN}
AllowMarketTransaction 1
MarketSellFee 0
MarketCancelFee 0
AllowPBFT 0
AllowTransactionFeePool 0
MaxFeeLimit 15000000000
AllowOptimizeBlackHole 1
AllowNewResourceModel 0
AllowTvmFreeze 1
AllowTvmVote 1
AllowTvmLondon 1
AllowTvmCompatibleEvm 0
AllowAccountAssetOptimization 0
FreeNetLimit {FREE_BANDWIDTH}
TotalNetLimit {TOTAL_BANDWIDTH}
AllowHigherLimitForMaxCpuTimeOfOneTx 1
AllowAssetOptimization 1
AllowNewReward 1
MemoFee {MEMO_FEE_SUN}
AllowDelegateOptimization 1
UnfreezeDelayDays {UNFREEZE_DAYS}
AllowOptimizedReturnValueOfChainId 1
AllowDynamicEnergy 0
DynamicEnergyThreshold 0
DynamicEnergyIncreaseFactor 0
DynamicEnergyMaxFactor 0
AllowTvmShangHai 1
AllowCancelAllUnfreezeV2 1
MaxDelegateLockPeriod {MAX_LOCK_SLOTS}
AllowOldRewardOpt 0
AllowEnergyAdjustment 1
MaxCreateAccountTxSize {MAX_CREATE_ACCOUNT_BYTES}
AllowStrictMath 1
ConsensusLogicOptimization 1
AllowTvmCancun 1
AllowTvmBlob 0
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One line of `getchainparameters`."""

    key: str
    """Its name there, such as `getEnergyFee`."""

    value: int
    """Its value, in the unit that the name implies (fees in sun)."""


def _read(line: str) -> Parameter:
    name, value = line.split()
    return Parameter(f"get{name}", int(value))


PARAMETERS = tuple(_read(line) for line in _TABLE.strip().splitlines())
"""Every parameter, in the order of the answer."""
