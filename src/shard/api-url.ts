import { GATEWAY_VERSION } from '../discord/index.ts'

/** A route below -discord-api, which may name a version: `https://discord.com/api` or `…/api/v10`. */
export function apiUrl(api: string, path: string): string {
  const base = api.replace(/\/+$/, '')
  return /\/v\d+$/.test(base) ? `${base}${path}` : `${base}/v${GATEWAY_VERSION}${path}`
}
