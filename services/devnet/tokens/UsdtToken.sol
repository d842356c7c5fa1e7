// SPDX-License-Identifier: MIT
// The devnet's USDT: our own code with the interface and the habits of the contract on mainnet. Those that catch
// clients out are kept on purpose: transfer and transferFrom succeed and return false, approve refuses to change an
// allowance that is not zero, the owner can pause it, take a fee, blacklist accounts and destroy their tokens.
// A transfer uses 14,383 energy to a holder and 29,383 to a new one, as measured on a real chain; a test holds that.
pragma solidity 0.4.26;

library SafeMath {
    function mul(uint256 a, uint256 b) internal pure returns (uint256 c) {
        if (a == 0) {
            return 0;
        }
        c = a * b;
        require(c / a == b);
    }

    function div(uint256 a, uint256 b) internal pure returns (uint256) {
        require(b > 0);
        return a / b;
    }

    function sub(uint256 a, uint256 b) internal pure returns (uint256) {
        require(b <= a);
        return a - b;
    }

    function add(uint256 a, uint256 b) internal pure returns (uint256 c) {
        c = a + b;
        require(c >= a);
    }
}

contract Ownable {
    address public owner;

    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);

    modifier onlyOwner() {
        require(msg.sender == owner);
        _;
    }

    function getOwner() external view returns (address) {
        return owner;
    }

    function transferOwnership(address newOwner) public onlyOwner {
        require(newOwner != address(0));
        emit OwnershipTransferred(owner, newOwner);
        owner = newOwner;
    }
}

contract Pausable is Ownable {
    bool public paused = false;

    event Pause();
    event Unpause();

    modifier whenNotPaused() {
        require(!paused);
        _;
    }

    function pause() public onlyOwner whenNotPaused {
        paused = true;
        emit Pause();
    }

    function unpause() public onlyOwner {
        require(paused);
        paused = false;
        emit Unpause();
    }
}

contract UsdtToken is Pausable {
    using SafeMath for uint256;

    uint256 private constant MAX_SETTABLE_BASIS_POINTS = 20;
    uint256 private constant MAX_SETTABLE_FEE = 50;
    uint256 public constant MAX_UINT = 2 ** 256 - 1;

    string public name = "Tether USD";
    string public symbol = "USDT";
    uint8 public decimals = 6;
    uint256 public _totalSupply;
    uint256 public basisPointsRate = 0;
    uint256 public maximumFee = 0;
    bool public deprecated = false;
    address public upgradedAddress;

    mapping(address => uint256) public balances;
    mapping(address => mapping(address => uint256)) private allowed;
    mapping(address => bool) public isBlackListed;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Issue(uint256 amount);
    event Redeem(uint256 amount);
    event Deprecate(address newAddress);
    event Params(uint256 feeBasisPoints, uint256 maxFee);
    event AddedBlackList(address indexed _user);
    event RemovedBlackList(address indexed _user);
    event DestroyedBlackFunds(address indexed _blackListedUser, uint256 _balance);

    constructor(address _owner, uint256 _initialSupply) public {
        owner = _owner;
        _totalSupply = _initialSupply;
        balances[_owner] = _initialSupply;
        emit Transfer(address(0), _owner, _initialSupply);
    }

    function totalSupply() public view returns (uint256) {
        return _totalSupply;
    }

    function balanceOf(address who) public view returns (uint256) {
        return balances[who];
    }

    function oldBalanceOf(address who) public view returns (uint256) {
        return balances[who];
    }

    function allowance(address _owner, address _spender) public view returns (uint256) {
        return allowed[_owner][_spender];
    }

    function calcFee(uint256 _value) public view returns (uint256 fee) {
        fee = _value.mul(basisPointsRate).div(10000);
        if (fee > maximumFee) {
            fee = maximumFee;
        }
    }

    // Nothing is returned, so callers read false: mainnet's does the same.
    function transfer(address _to, uint256 _value) public whenNotPaused returns (bool) {
        require(!isBlackListed[msg.sender]);
        move(msg.sender, _to, _value);
    }

    function transferFrom(address _from, address _to, uint256 _value) public whenNotPaused returns (bool) {
        require(!isBlackListed[_from]);
        uint256 allowedNow = allowed[_from][msg.sender];
        if (allowedNow < MAX_UINT) {
            allowed[_from][msg.sender] = allowedNow.sub(_value);
        }
        move(_from, _to, _value);
    }

    function approve(address _spender, uint256 _value) public whenNotPaused returns (bool) {
        // Change an allowance by way of zero, or else the spender may spend both.
        require(_value == 0 || allowed[msg.sender][_spender] == 0);
        allowed[msg.sender][_spender] = _value;
        emit Approval(msg.sender, _spender, _value);
    }

    function increaseApproval(address _spender, uint256 _addedValue) public whenNotPaused returns (bool) {
        allowed[msg.sender][_spender] = allowed[msg.sender][_spender].add(_addedValue);
        emit Approval(msg.sender, _spender, allowed[msg.sender][_spender]);
    }

    function decreaseApproval(address _spender, uint256 _subtractedValue) public whenNotPaused returns (bool) {
        uint256 old = allowed[msg.sender][_spender];
        allowed[msg.sender][_spender] = _subtractedValue > old ? 0 : old - _subtractedValue;
        emit Approval(msg.sender, _spender, allowed[msg.sender][_spender]);
    }

    function getBlackListStatus(address _maker) external view returns (bool) {
        return isBlackListed[_maker];
    }

    function addBlackList(address _evilUser) public onlyOwner {
        isBlackListed[_evilUser] = true;
        emit AddedBlackList(_evilUser);
    }

    function removeBlackList(address _clearedUser) public onlyOwner {
        isBlackListed[_clearedUser] = false;
        emit RemovedBlackList(_clearedUser);
    }

    function destroyBlackFunds(address _blackListedUser) public onlyOwner {
        require(isBlackListed[_blackListedUser]);
        uint256 dirtyFunds = balances[_blackListedUser];
        balances[_blackListedUser] = 0;
        _totalSupply = _totalSupply.sub(dirtyFunds);
        emit DestroyedBlackFunds(_blackListedUser, dirtyFunds);
    }

    function issue(uint256 amount) public onlyOwner {
        balances[owner] = balances[owner].add(amount);
        _totalSupply = _totalSupply.add(amount);
        emit Issue(amount);
        emit Transfer(address(0), owner, amount);
    }

    function redeem(uint256 amount) public onlyOwner {
        _totalSupply = _totalSupply.sub(amount);
        balances[owner] = balances[owner].sub(amount);
        emit Redeem(amount);
        emit Transfer(owner, address(0), amount);
    }

    function setParams(uint256 newBasisPoints, uint256 newMaxFee) public onlyOwner {
        require(newBasisPoints < MAX_SETTABLE_BASIS_POINTS);
        require(newMaxFee < MAX_SETTABLE_FEE);
        basisPointsRate = newBasisPoints;
        maximumFee = newMaxFee.mul(uint256(10) ** decimals);
        emit Params(basisPointsRate, maximumFee);
    }

    function deprecate(address _upgradedAddress) public onlyOwner {
        require(_upgradedAddress != address(0));
        deprecated = true;
        upgradedAddress = _upgradedAddress;
        emit Deprecate(_upgradedAddress);
    }

    function move(address _from, address _to, uint256 _value) private {
        require(!deprecated);
        uint256 fee = calcFee(_value);
        uint256 sent = _value.sub(fee);
        moveExactly(_from, _to, sent);
        if (fee > 0) {
            moveExactly(_from, owner, fee);
        }
    }

    function moveExactly(address _from, address _to, uint256 _value) private {
        require(_to != address(0));
        require(_value <= balances[_from]);
        balances[_from] = balances[_from].sub(_value);
        balances[_to] = balances[_to].add(_value);
        emit Transfer(_from, _to, _value);
    }
}
