/**
 * The REST routes that a gateway client needs, and the one by which a bot answers.
 * See [Discord Docs/Gateway#get-gateway], #get-gateway-bot and [Discord Docs/Message#create-message].
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Gateway } from './gateway.ts'
import { jsonBodyOf } from './json-body.ts'
import type { WorldEvent } from './sim-world.ts'

/** Characters of a message. See [Discord Docs/Message#create-message]. */
const CONTENT_CHARS_MAX = 2000

/** @returns false when the path is not one of these routes. */
export function answerRest(
  gateway: Gateway,
  gatewayUrl: string,
  writeMessage: (channelId: bigint, content: string) => WorldEvent | null,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const path = (request.url ?? '').split('?')[0]
  const route = /^\/api(?:\/v\d+)?(\/.*)$/.exec(path ?? '')?.[1]
  if (route === undefined) return false
  if (request.method === 'GET' && route === '/gateway') {
    sendJson(response, 200, { url: gatewayUrl })
  } else if (request.method === 'GET' && route === '/gateway/bot') {
    answerGatewayBot(gateway, gatewayUrl, request, response)
  } else if (request.method === 'GET' && route === '/applications/@me') {
    if (isAuthorized(gateway, request, response)) {
      sendJson(response, 200, gateway.world.application)
    }
  } else {
    const channelId = /^\/channels\/(\d{1,20})\/messages$/.exec(route)?.[1]
    if (request.method === 'POST' && channelId !== undefined) {
      if (isAuthorized(gateway, request, response)) {
        void answerMessage(BigInt(channelId), writeMessage, request, response)
      }
    } else {
      sendJson(response, 404, { message: '404: Not Found', code: 0 })
    }
  }
  return true
}

async function answerMessage(
  channelId: bigint,
  writeMessage: (channelId: bigint, content: string) => WorldEvent | null,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await jsonBodyOf(request).catch(() => null)
  const content = body?.['content']
  if (typeof content !== 'string' || content === '' || content.length > CONTENT_CHARS_MAX) {
    return sendJson(response, 400, { message: 'Cannot send an empty message', code: 50_006 })
  }
  const event = writeMessage(channelId, content)
  if (event === null) return sendJson(response, 404, { message: 'Unknown Channel', code: 10_003 })
  sendJson(response, 200, event.d)
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
  response.writeHead(status, { 'content-type': 'application/json' }).end(text)
}

function answerGatewayBot(
  gateway: Gateway,
  url: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (!isAuthorized(gateway, request, response)) return
  const { shards, identifyLimit, maxConcurrency } = gateway.options
  sendJson(response, 200, {
    url,
    session_start_limit: {
      max_concurrency: maxConcurrency,
      remaining: gateway.budget.left,
      reset_after: gateway.budget.resetAfterMs,
      total: Math.max(identifyLimit, 1000),
    },
    shards,
  })
}

function isAuthorized(
  gateway: Gateway,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const authorization = request.headers.authorization ?? ''
  if (authorization.startsWith('Bot ') && gateway.accepts(authorization)) return true
  sendJson(response, 401, { message: '401: Unauthorized', code: 0 })
  return false
}
