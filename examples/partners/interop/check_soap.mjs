// SOAP between ours and npm's `soap`, in both directions, in both versions, with and without a token.
//
//     npm install --prefix FOLDER soap@1.13.0
//     node check_soap.mjs FOLDER target/debug/partner-cms target/debug/examples/ask
//
// Exits with 0 if both understood each other in everything.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import crypto from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'

const [modules, partner, ask] = process.argv.slice(2).map((file) => path.resolve(file))
const soap = createRequire(modules + '/')('soap')
const CMS = 'http://swiftlogistics.lk/cms/v1'
const USER = 'alice'
const PASSWORD = 'sécret & <more>'
const DESCRIPTION = 'Tea & <biscuits> ]]> \u{1f4e6}'
let checks = 0

function same(found, expected, what) {
  checks += 1
  assert.deepEqual(found, expected, what)
}

// --- npm's client, our server ---

const order = (id, more = {}) => ({
  OrderId: id,
  ClientId: 'CLIENT-001',
  Priority: 'URGENT',
  PackageList: {
    Package: [
      { SKU: 'ITEM-001', Description: DESCRIPTION, Quantity: 2 },
      { SKU: 'ITEM-002', Quantity: 1, Priority: 'HIGH' },
    ],
  },
  DeliveryAddresses: { Address: ['1 Galle Road', 'Kandy\nSri Lanka'] },
  ...more,
})

async function fault(call, version, code, kind) {
  const error = await call.then(
    () => assert.fail(`${code} was expected`),
    (error) => error,
  )
  assert(error.root, error)
  const fault = error.root.Envelope.Body.Fault
  const detail = (version === 12 ? fault.Detail : fault.detail).CmsFault
  same([detail.Code, detail.Class], [code, kind])
}

async function asClient(base, version, token) {
  const client = await soap.createClientAsync(`${base}/cms?wsdl`, { forceSoap12Headers: version === 12 })
  if (token) {
    client.setSecurity(new soap.WSSecurity(USER, PASSWORD, {
      passwordType: 'PasswordDigest', hasNonce: true, hasTimeStamp: true, mustUnderstand: true,
    }))
  }
  const port = client.CmsService[version === 12 ? 'CmsPort12' : 'CmsPort']
  const call = (name, args, key) => new Promise((resolve, reject) => {
    client.clearSoapHeaders()
    if (key !== undefined) {
      const context = { RequestContext: { RequestId: crypto.randomUUID(), IdempotencyKey: key } }
      client.addSoapHeader(context, '', 'c', CMS)
    }
    port[name](args, (error, result) => (error ? reject(error) : resolve(result)))
  })
  const id = `NPM-${version}-${token ? 'T' : 'N'}`
  const key = `${id}:CMS_VERIFICATION`

  same((await call('GetContract', { OrderId: id })).State, 'NONE')
  const given = await call('VerifyContract', order(id), key)
  same([given.Status, given.BillingStatus, given.Currency], ['SUCCESS', 'APPROVED', 'LKR'])
  same([Number(given.EstimatedCost), given.Replayed], [1300, false])
  const again = await call('VerifyContract', order(id), key)
  same([again.ContractId, again.Replayed], [given.ContractId, true])
  await fault(call('VerifyContract', order(id, { Priority: 'HIGH' }), key), version, 'KEY_REUSED', 'REJECTED')
  await fault(call('VerifyContract', order(`${id}-P`, { ClientId: 'CLIENT-POOR' })), version,
    'CREDIT_LIMIT_EXCEEDED', 'REJECTED')
  const found = await call('GetContract', { OrderId: id })
  same([found.State, found.ContractId], ['VERIFIED', given.ContractId])
  const cancel = { OrderId: id, ContractId: given.ContractId, Reason: 'npm' }
  same((await call('CancelContract', cancel, `${key}:undo`)).State, 'CANCELLED')
  same((await call('CancelContract', { OrderId: `${id}-never`, Reason: 'npm' })).State, 'TOMBSTONED')
  await fault(call('VerifyContract', order(`${id}-never`)), version, 'CANCELLED', 'REJECTED')

  if (token) {
    client.setSecurity(new soap.WSSecurity(USER, 'guess', { passwordType: 'PasswordDigest', hasNonce: true }))
    await fault(call('GetContract', { OrderId: id }), version, 'AUTH_FAILED', 'NOT_APPLIED')
    client.setSecurity(new soap.WSSecurity(USER, PASSWORD, { passwordType: 'PasswordText' }))
    await fault(call('GetContract', { OrderId: id }), version, 'MALFORMED', 'REJECTED')
  }
}

// --- our client, npm's server ---

function digest(token) {
  const nonce = Buffer.from(token.Nonce.$value ?? token.Nonce, 'base64')
  return crypto.createHash('sha1').update(nonce).update(token.Created).update(PASSWORD).digest('base64')
}

async function asServer(wsdl, version, token) {
  const contracts = new Map()
  const seen = []
  const throwing = (code, kind) => {
    const detail = {
      'c:CmsFault': { attributes: { 'xmlns:c': CMS }, 'c:Code': code, 'c:Class': kind, 'c:Message': 'no & <never>' },
    }
    throw version === 12
      ? { Fault: { Code: { Value: 'soap:Sender' }, Reason: { Text: 'no' }, Detail: detail, statusCode: 400 } }
      : { Fault: { faultcode: 'soap:Client', faultstring: 'no', detail, statusCode: 500 } }
  }
  const operations = {
    VerifyContract(args, _, headers) {
      seen.push(args, headers.RequestContext)
      if (args.OrderId === 'REFUSED') throwing('CLIENT_SUSPENDED', 'REJECTED')
      contracts.set(args.OrderId, 'NPM-1')
      return {
        Status: 'SUCCESS', ContractId: 'NPM-1', BillingStatus: 'APPROVED', EstimatedCost: '1050.00', Currency: 'LKR',
        RemainingCredit: '10.00', ValidUntil: '2027-01-31', Replayed: false,
      }
    },
    GetContract: ({ OrderId }) => ({ State: 'VERIFIED', ContractId: contracts.get(OrderId) }),
    CancelContract: ({ OrderId }) => ({ State: contracts.delete(OrderId) ? 'CANCELLED' : 'TOMBSTONED' }),
  }
  const server = http.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${server.address().port}`
  const listening = soap.listen(server, {
    path: version === 12 ? '/cms12' : '/cms',
    services: { CmsService: { CmsPort: operations, CmsPort12: operations } },
    xml: wsdl.replaceAll('http://{host}', url),
    forceSoap12Headers: version === 12,
  })
  if (version === 12) listening.wsdl.options.forceSoap12Headers = true
  if (token) {
    listening.authenticate = (security) => {
      const shown = security?.UsernameToken
      return shown?.Username === USER && digest(shown) === shown.Password.$value
    }
  }

  const asking = (id, password = PASSWORD) => new Promise((resolve) => {
    const args = ['--cms', url, '--no-echo', '--order', id]
    if (version === 12) args.push('--soap12')
    if (token) args.push('--user', USER, '--password', password)
    execFile(ask, args, (_, out) => resolve(out.trim().split('\n').map((line) => JSON.parse(line))))
  })
  same(await asking('ASK-1'), [
    { verify: { contract: 'NPM-1', cost: '1050.00' } },
    { get: { state: 'VERIFIED', contract: 'NPM-1' } },
    { cancel: { state: 'CANCELLED' } },
  ])
  const [sent, context] = seen
  same([sent.OrderId, sent.Priority], ['ASK-1', 'URGENT'])
  const [line] = [sent.PackageList.Package].flat()
  same([line.SKU, Number(line.Quantity)], ['ITEM-001', 1])
  assert(line.Description.startsWith(DESCRIPTION), line.Description)
  same(context.IdempotencyKey, 'ASK-1:verify')

  const [refused] = await asking('REFUSED')
  same([refused.class, refused.error], ['Rejected', 'no & <never> (CLIENT_SUSPENDED)'])
  if (token) {
    const [stranger] = await asking('ASK-2', 'guess')
    same(['Unknown', 'Protocol'].includes(stranger.class), true, JSON.stringify(stranger))
  }
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

// --- the partner as a process ---

/** A port that nobody had a moment ago. */
async function free() {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function withPartner(token, check) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'check-soap-'))
  const port = await free()
  const args = ['--listen', `127.0.0.1:${port}`, '--control', '127.0.0.1:0', '--data', data]
  if (token) args.push('--username', USER, '--password', PASSWORD)
  const child = spawn(partner, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const lines = readline.createInterface({ input: child.stdout })
    const { value } = await lines[Symbol.asyncIterator]().next()
    assert.match(value ?? '', /^ready /)
    await check(`http://127.0.0.1:${port}`)
  } finally {
    child.kill('SIGKILL')
    fs.rmSync(data, { recursive: true })
  }
}

for (const token of [false, true]) {
  await withPartner(token, async (base) => {
    const wsdl = await (await fetch(`${base}/cms?wsdl`)).text()
    for (const version of [11, 12]) {
      await asClient(base, version, token)
      await asServer(wsdl.replaceAll(base, 'http://{host}'), version, token)
    }
  })
}
console.log(`npm's soap ${createRequire(modules + '/')('soap/package.json').version}: ${checks} checks, both ways`)
