/** Addresses that are private, special or reserved, or that carry another address. */
export const forbiddenAddresses = words(
  // "this network", private, shared (CGNAT), loopback, link-local.
  '0.0.0.0 0.0.0.1 0.1.2.3 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255',
  '127.0.0.1 127.0.0.53 127.255.255.254 169.254.0.1 169.254.255.255 172.16.0.1 172.31.255.255 192.168.0.0 192.168.1.1',
  '192.168.255.255',
  // Metadata services of clouds and containers.
  '169.254.169.254 169.254.170.2 169.254.0.23 169.254.42.42 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254',
  'fd20:ce::254 fd00:42::42 fe80::a9fe:a9fe',
  // Protocol assignments, documentation, relays, benchmarking, multicast, reserved, broadcast.
  '192.0.0.1 192.0.0.170 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.175.48.1 198.18.0.1 198.19.255.255',
  '198.51.100.1 203.0.113.1 224.0.0.1 224.0.0.251 233.252.0.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255',
  // The same in IPv6, and unassigned networks.
  ':: ::1 100::1 100:0:0:1::1 2001::1 2001:1::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2620:4f:8000::1 3fff::1',
  '4000::1 5f00::1 8000::1 fc00::1 fdff:ffff::1 fe80::1 febf::1 fec0::1 ff02::1 ff05::1:3 ff0e::1',
  // IPv4-compatible, mapped, translated, NAT64, Teredo, 6to4, ISATAP.
  '::2 ::7f00:1 ::808:808 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:a9fe:a9fe ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8',
  '64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b::c0a8:101 64:ff9b::a9fe:a9fe 64:ff9b::a83f:8110 64:ff9b::6464:64c8 64:ff9b:: 64:ff9b::ffff:ffff',
  '64:ff9b::1:808:808 64:ff9b:0:0:1::808:808 64:ff9b:1::808:808 64:ff9a::808:808 64:ff9b:1::1 64:ff9b:1:a00:0:1:: 64:ff9b:1:ffff:ffff:ffff:a00:1',
  '2001:0:808:808:0:0:80ff:fffe 2001:0:5ef5:79fb:0:59c:f5ff:fffe 2002:7f00:1:: 2002:808:808::1 2002:a9fe:a9fe::1',
  'fe80::5efe:a00:1 2606:4700::5efe:a00:1 2606:4700::5efe:808:808 2a00:1450:4001:0:200:5efe:7f00:1',
);

/** Hosts of URLs that parsers resolve to one of the addresses above. */
export const disguisedHosts = words(
  'localhost LOCALHOST localhost. okta.localhost a.b.localhost. localhost:443 ⓛⓞⓒⓐⓛⓗⓞⓢⓣ ｌｏｃａｌｈｏｓｔ loc%61lhost',
  // Short, decimal, octal, hexadecimal, and mixed.
  '0 0. 1 127.1 127.0.1 127.0.0.1. 10.1 192.168.257 169.254.43518 2130706433 2852039166 4294967295 3232235777',
  '0177.0.0.1 0177.1 017700000001 0251.0376.0251.0376 00000177.0.0.1 0x7f.1 0x7f000001 0xA9FEA9FE 0X7F.0X0.0X0.0X1',
  '0xa9.0xfe.0xa9.0xfe 0x7f.0.0.01 0x0 127.0x0.00.1 127.0.0.0x',
  // Look-alike digits, dots and letters; invisible and percent-encoded characters.
  '１２７.0.0.1 127。0。0。1 127．0．0．1 127｡0｡0｡1 ①②⑦.⓪.⓪.① ¹²⁷.⁰.⁰.¹ ₁₂₇.0.0.1 𝟏𝟐𝟕.𝟎.𝟎.𝟏 𝟶𝚡𝟽𝚏.1 １６９.２５４.１６９.２５４',
  '127\u00ad.0.0.1 12\u200b7.0.0.1 127.0.0.1\ufe0f \u206010.0.0.1 %31%32%37.0.0.1 127%2e0%2e0%2e1 %EF%BC%91%EF%BC%90.0.0.1',
  // The same in IPv6.
  '[::ffff:7f00:1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:ffff:7f00:0001] [::127.0.0.1] [::FFFF:169.254.169.254]',
  '[64:FF9B::127.0.0.1] [64:ff9b:1::10.0.0.1] [FD00:EC2::254] [FE80::1] [2002:7f00:0001::]',
  // With user information that looks like the host.
  'acme.okta.com@127.0.0.1 acme.okta.com:443@169.254.169.254 user:pass@[::1] acme.okta.com%40@10.0.0.1',
  '127.0.0.1#@acme.okta.com 127.0.0.1?@acme.okta.com 127.0.0.1/@acme.okta.com 127.0.0.1\\@acme.okta.com 10.0.0.1:8443',
  '169.254.169.254/latest/meta-data/ [fd00:ec2::254]/latest/meta-data/',
);

/** Hosts of URLs that are invalid. */
export const brokenHosts = words(
  '[fe80::1%25eth0] [fe80::1%eth0] [::1%251] fe80::1 [::1 ::1] [127.0.0.1] [::ffff:127.0.0.1.] [::1]. [v1.fe80::a] [1::2::3]',
  '127.0.0.256 256.0.0.1 4294967296 0x100000000 0400.0.0.1 127.0.0.1.5 1.2.3.0x100 127..1 0xg.1 127.0.0.1:99999 127.0.0.1%00',
  '127.0.0.1%0d%0aHost: 127.0.0.1%20 acme.okta.com%2f@127.0.0.1%2f 127.0.0.1%3a80 %5b::1%5d acme％2eokta.com',
);

function words(...lines: string[]): string[] {
  return lines.flatMap((line) => line.split(' '));
}
