/** A server's side of transport compression, for tests: one context, one flush per payload. */
import zlib from 'node:zlib'

export class Compressor {
  readonly #stream: zlib.Deflate | zlib.ZstdCompress
  readonly #chunks: Buffer[] = []
  readonly #flush: number

  constructor(compress: 'zlib-stream' | 'zstd-stream') {
    this.#stream = compress === 'zlib-stream' ? zlib.createDeflate() : zlib.createZstdCompress()
    this.#flush =
      compress === 'zlib-stream' ? zlib.constants.Z_SYNC_FLUSH : zlib.constants.ZSTD_e_flush
    this.#stream.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
  }

  async compress(payload: Uint8Array): Promise<Buffer> {
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(payload, (error) => (error ? reject(error) : resolve()))
    })
    await new Promise<void>((resolve) => {
      this.#stream.flush(this.#flush, () => resolve())
    })
    while (this.#stream.read() !== null);
    return Buffer.concat(this.#chunks.splice(0))
  }
}
