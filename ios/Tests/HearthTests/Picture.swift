// A picture that nobody can guess, as a PNG. Foundation draws none on Linux.

import Foundation

/// A square of noise, the same each time. Not compressed: noise does not shrink.
func noise(side: Int) -> Data {
    var seed: UInt32 = 7
    var rows = [UInt8]()
    for _ in 0..<side {
        rows.append(0)  // no filter
        for _ in 0..<(side * 3) {
            seed = seed &* 1_664_525 &+ 1_013_904_223
            rows.append(UInt8(seed >> 24))
        }
    }
    var zlib: [UInt8] = [0x78, 0x01]
    let blocks = stride(from: 0, to: rows.count, by: 65_535).map { rows[$0..<min($0 + 65_535, rows.count)] }
    for (index, block) in blocks.enumerated() {
        zlib.append(index == blocks.count - 1 ? 1 : 0)
        let length = UInt16(block.count)
        for part in [length, ~length] { zlib += [UInt8(part & 255), UInt8(part >> 8)] }
        zlib += block
    }
    zlib += big(adler(rows))
    let header = big(UInt32(side)) + big(UInt32(side)) + [8, 2, 0, 0, 0]
    return Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
        + chunk("IHDR", header) + chunk("IDAT", zlib) + chunk("IEND", [])
}

/// Whether something begins as a PNG, a JPEG or a WebP does.
func looksLikeAPicture(_ data: Data) -> Bool {
    [[0x89, 0x50, 0x4E, 0x47], [0xFF, 0xD8, 0xFF], [0x52, 0x49, 0x46, 0x46]].contains { data.starts(with: $0) }
}

private func chunk(_ kind: String, _ content: [UInt8]) -> Data {
    let body = Array(kind.utf8) + content
    return Data(big(UInt32(content.count)) + body + big(crc(body)))
}

private func big(_ number: UInt32) -> [UInt8] { [24, 16, 8, 0].map { UInt8(number >> $0 & 255) } }

private let crcTable: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? 0xEDB8_8320 ^ (crc >> 1) : crc >> 1 }
}

private func crc(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(UInt32.max) { crc, byte in crcTable[Int((crc ^ UInt32(byte)) & 255)] ^ (crc >> 8) }
}

private func adler(_ bytes: [UInt8]) -> UInt32 {
    var (low, high): (UInt32, UInt32) = (1, 0)
    for byte in bytes {
        low = (low + UInt32(byte)) % 65_521
        high = (high + low) % 65_521
    }
    return high << 16 | low
}
