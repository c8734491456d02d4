"""Uses every part of python-consul against the agent at the address given, and checks what it says."""
import sys
import threading

import consul

c = consul.Consul(host=sys.argv[1], port=8500)


def refused(error, call):
    try:
        call()
    except error as refusal:
        return str(refusal)
    raise AssertionError('%s was not raised' % error.__name__)


def keys():
    assert c.kv.get('a') == (c.kv.get('a')[0], None)
    assert c.kv.put('a/x', 'one', flags=7) is True
    assert c.kv.put('a/y/z', 'two') is True
    index, row = c.kv.get('a/x')
    assert (row['Value'], row['Flags'], row['Key']) == (b'one', 7, 'a/x')
    assert int(index) == row['ModifyIndex']
    assert c.kv.get('a/', keys=True, separator='/')[1] == ['a/x', 'a/y/']
    assert [r['Key'] for r in c.kv.get('a/', recurse=True)[1]] == ['a/x', 'a/y/z']
    assert c.kv.put('a/x', 'no', cas=row['ModifyIndex'] - 1) is False
    assert c.kv.put('a/x', 'three', cas=row['ModifyIndex']) is True
    for mode in ('default', 'consistent', 'stale'):
        assert c.kv.get('a/x', consistency=mode)[1]['Value'] == b'three'
    assert c.kv.put('empty', '') and c.kv.get('empty')[1]['Value'] is None
    # A wait that a write ends.
    index = c.kv.get('a/x')[0]
    later = threading.Timer(0.3, lambda: c.kv.put('a/x', 'four'))
    later.start()
    woken, row = c.kv.get('a/x', index=index, wait='30s')
    later.join()
    assert row['Value'] == b'four' and int(woken) > int(index)
    # And one that nobody ends.
    index = c.kv.get('a/x')[0]
    assert c.kv.get('a/x', index=index, wait='100ms')[0] == index
    assert c.kv.delete('a/', recurse=True) is True
    assert c.kv.get('a/', recurse=True)[1] is None


def transactions():
    done = c.txn.put([{'KV': {'Verb': 'set', 'Key': 't', 'Value': 'b25l'}},
                      {'KV': {'Verb': 'get', 'Key': 't'}}])
    assert [r['KV']['Key'] for r in done['Results']] == ['t', 't']
    lost = {'KV': {'Verb': 'cas', 'Key': 't', 'Value': 'b25l', 'Index': 1}}
    assert 'index is stale' in refused(consul.ConsulException, lambda: c.txn.put([lost]))


def sessions():
    ours = c.session.create(name='ours', lock_delay=0, behavior='delete', ttl=30)
    theirs = c.session.create(name='theirs', lock_delay=0)
    assert c.kv.put('lock', 'me', acquire=ours) is True
    assert c.kv.put('lock', 'you', acquire=theirs) is False
    assert c.kv.get('lock')[1]['Session'] == ours
    assert c.session.renew(ours)['TTL'] == '30s'
    assert c.session.info(ours)[1]['Name'] == 'ours'
    assert {s['Name'] for s in c.session.list()[1]} == {'ours', 'theirs'}
    assert len(c.session.node('n1')[1]) == 2
    assert c.kv.put('lock', 'me', release=ours) is True
    assert c.kv.put('lock', 'you', acquire=theirs) is True
    assert c.session.destroy(theirs) is True
    assert 'Session' not in c.kv.get('lock')[1]
    assert c.kv.put('lock', 'me', acquire=ours) is True
    assert c.session.destroy(ours) is True
    assert c.kv.get('lock')[1] is None
    refused(consul.NotFound, lambda: c.session.renew(ours))


def agent():
    assert c.agent.self()['Config']['NodeName'] == 'n1'
    assert [m['Name'] for m in c.agent.members()] == ['n1']
    check = consul.Check.ttl('10m')
    assert c.agent.service.register('web', service_id='w1', port=80, tags=['a', 'b'], check=check)
    assert c.agent.services()['w1']['Tags'] == ['a', 'b']
    assert c.agent.check.register('mine', check=check, service_id='w1')
    assert set(c.agent.checks()) == {'service:w1', 'mine'}
    assert c.health.service('web', passing=True)[1] == []
    for check_id in ('service:w1', 'mine'):
        assert c.agent.check.ttl_pass(check_id, 'well')
    index, rows = c.health.service('web', passing=True, tag='a')
    assert [r['Service']['ID'] for r in rows] == ['w1']
    assert c.health.service('web', passing=True, tag='other')[1] == []
    assert c.agent.check.ttl_warn('mine', 'hm')
    assert {k['Status'] for k in c.health.checks('web')[1]} == {'passing', 'warning'}
    assert c.agent.check.ttl_fail('mine', 'ill')
    assert [k['Output'] for k in c.health.state('critical')[1]] == ['ill']
    assert 'mine' in {k['CheckID'] for k in c.health.node('n1')[1]}
    assert c.agent.check.deregister('mine')
    assert c.agent.service.maintenance('w1', True, 'for now')
    assert [k['Notes'] for k in c.health.state('critical')[1]] == ['for now']
    assert c.agent.service.maintenance('w1', False)
    assert c.agent.maintenance(True) and c.agent.maintenance(False)
    assert c.agent.service.deregister('w1')
    assert c.agent.services() == {}


def catalog():
    assert c.catalog.datacenters() == ['dc1']
    service = {'Service': 'db', 'ID': 'db1', 'Port': 5432, 'Tags': ['primary']}
    check = {'Name': 'alive', 'CheckID': 'alive', 'ServiceID': 'db1', 'Status': 'passing'}
    assert c.catalog.register('ext', '10.1.2.3', service=service, check=check) is True
    assert {n['Node'] for n in c.catalog.nodes()[1]} == {'n1', 'ext'}
    assert c.catalog.services()[1]['db'] == ['primary']
    row = c.catalog.service('db', tag='primary')[1][0]
    assert (row['Address'], row['ServicePort']) == ('10.1.2.3', 5432)
    assert list(c.catalog.node('ext')[1]['Services']) == ['db1']
    assert c.catalog.deregister('ext', service_id='db1') is True
    assert c.catalog.deregister('ext') is True
    assert c.catalog.node('ext')[1] is None


def status():
    assert c.status.leader().endswith(':8300')
    assert c.status.peers() == [c.status.leader()]


for part in (keys, transactions, sessions, agent, catalog, status):
    part()
print('all of it')
