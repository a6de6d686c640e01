/**
 * The JSON that termToJson promises, said by other means: JSON.stringify of the decoded value, with
 * Discord's rule for integers.
 */
export function discordJson(value: unknown): string {
  return JSON.stringify(value, function (this: unknown, key, inner: unknown) {
    if (typeof inner === 'bigint') return String(inner)
    if (typeof inner !== 'number' || !Number.isInteger(inner)) return inner
    const isId = (key === 'id' || key.endsWith('_id')) && !Array.isArray(this)
    const magnitude = Math.abs(inner)
    return isId && magnitude >= 2 ** 32 && magnitude < 2 ** 64 ? String(BigInt(inner)) : inner
  })
}
