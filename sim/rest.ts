/** The two REST routes that a gateway client needs. See [Discord Docs/Gateway#get-gateway] and #get-gateway-bot. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Gateway } from './gateway.ts'

/** @returns false when the path is not one of these routes. */
export function answerRest(
  gateway: Gateway,
  gatewayUrl: string,
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
  } else {
    sendJson(response, 404, { message: '404: Not Found', code: 0 })
  }
  return true
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
  const authorization = request.headers.authorization ?? ''
  if (!authorization.startsWith('Bot ') || !gateway.accepts(authorization)) {
    sendJson(response, 401, { message: '401: Unauthorized', code: 0 })
    return
  }
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
