/** The floor: `ws` receives the same frames and drops them. */
import { createSecureContext, type SecureContext } from 'node:tls'
import { type ClientOptions, WebSocket } from 'ws'
import { readRivalOptions, reportTo } from '../rival.ts'

const { url, shards } = readRivalOptions()
let events = 0
/** ws hands the secure context on to tls.connect(); its types do not know. */
const options: ClientOptions & { readonly secureContext: SecureContext } = {
  perMessageDeflate: false,
  secureContext: createSecureContext(),
}
for (let shardId = 0; shardId < shards; shardId++) {
  const socket = new WebSocket(`${url}/?encoding=etf&floor=${shardId}`, options)
  let isHello = true
  socket.on('message', () => {
    if (isHello) isHello = false
    else events++
  })
  socket.on('error', (error) => {
    throw error
  })
}
reportTo(() => events)
