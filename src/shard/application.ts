import { request } from 'undici'
import type { Secret } from '../base/index.ts'
import { apiUrl } from './api-url.ts'

const REQUEST_TIMEOUT_MS = 10_000

/**
 * The flags of the token's application, which tell its privileged intents; null when Discord does not say.
 * See [Discord Docs/Application#get-current-application].
 */
export async function fetchApplicationFlags(options: {
  readonly api: string
  readonly token: Secret
  readonly userAgent: string
}): Promise<number | null> {
  try {
    const response = await request(apiUrl(options.api, '/applications/@me'), {
      headers: {
        authorization: `Bot ${options.token.reveal().replace(/^Bot /, '')}`,
        'user-agent': options.userAgent,
      },
      headersTimeout: REQUEST_TIMEOUT_MS,
      bodyTimeout: REQUEST_TIMEOUT_MS,
    })
    const body = await response.body.text()
    if (response.statusCode !== 200) return null
    const { flags } = JSON.parse(body) as { readonly flags?: unknown }
    return typeof flags === 'number' ? flags : null
  } catch {
    return null
  }
}
