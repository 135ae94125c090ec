package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// The functions below make setters: each returns an error that says what is
// wrong with a value and what would be right, without repeating secrets.

type setter = func(c *Config, values []string) error

func text(field func(*Config) *string, checks ...func(string) error) setter {
	return func(c *Config, values []string) error {
		v := values[0]
		for _, check := range append([]func(string) error{notEmpty}, checks...) {
			if err := check(v); err != nil {
				return err
			}
		}
		*field(c) = v
		return nil
	}
}

func secret(field func(*Config) *Secret, check func(string) error) setter {
	return func(c *Config, values []string) error {
		if err := check(values[0]); err != nil {
			return err
		}
		*field(c) = NewSecret(values[0])
		return nil
	}
}

func list(field func(*Config) *[]string, check func(string) error) setter {
	return func(c *Config, values []string) error { return checkedList(field(c), values, check) }
}

// checkedList sets a list of words that are each right and there once.
func checkedList(list *[]string, values []string, check func(string) error) error {
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if err := check(v); err != nil {
			return err
		}
		if seen[v] {
			return fmt.Errorf("%q is listed twice", v)
		}
		seen[v] = true
	}
	*list = append([]string{}, values...)
	return nil
}

func boolean(field func(*Config) *bool) setter {
	return func(c *Config, values []string) error {
		switch values[0] {
		case "true":
			*field(c) = true
		case "false":
			*field(c) = false
		default:
			return fmt.Errorf("%q is neither true nor false", values[0])
		}
		return nil
	}
}

func duration(field func(*Config) *time.Duration, least, most time.Duration) setter {
	return func(c *Config, values []string) error {
		d, err := time.ParseDuration(values[0])
		if err != nil {
			return fmt.Errorf("%q is no duration; write a number and its unit, as in 30s, 15m or 1h", values[0])
		}
		if d < least || d > most {
			return fmt.Errorf("%v is out of range; it may be %v to %v", d, least, most)
		}
		*field(c) = d
		return nil
	}
}

func size(field func(*Config) *int64, least, most int64) setter {
	return func(c *Config, values []string) error {
		n, err := parseSize(values[0])
		if err != nil {
			return err
		}
		if n < least || n > most {
			return fmt.Errorf("%s is out of range; it may be %s to %s", values[0], formatSize(least), formatSize(most))
		}
		*field(c) = n
		return nil
	}
}

// auto is written for numbers that follow from the machine; they become 0.
const auto = "auto"

// number takes a whole number, and auto where 0 would mean nothing.
func number(field func(*Config) *int, least, most int) setter {
	return func(c *Config, values []string) error {
		if values[0] == auto && least > 0 {
			*field(c) = 0
			return nil
		}
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return fmt.Errorf("%q is no whole number", values[0])
		}
		if n < least || n > most {
			return fmt.Errorf("%d is out of range; it may be %d to %d", n, least, most)
		}
		*field(c) = n
		return nil
	}
}

// unit is a suffix of sizes. KiB and its like are powers of 1024, KB and its
// like of 1000.
type unit struct {
	suffix string
	bytes  int64
}

func units() []unit {
	return []unit{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"KB", 1e3},
		{"B", 1},
		{"", 1},
	}
}

func parseSize(text string) (int64, error) {
	for _, u := range units() {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is no size; write a whole number of bytes or one with a unit, as in 8MiB", text)
}

func formatSize(n int64) string {
	for _, u := range units() {
		if u.bytes > 1 && u.bytes&(u.bytes-1) == 0 && n%u.bytes == 0 && n > 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.suffix)
		}
	}
	return fmt.Sprintf("%dB", n)
}

func oneOf(words ...string) func(string) error {
	return func(v string) error {
		for _, w := range words {
			if v == w {
				return nil
			}
		}
		return fmt.Errorf("%q is not possible; it may be %s", v, strings.Join(words, " or "))
	}
}

func setLogLevel(c *Config, values []string) error {
	if err := oneOf("debug", "info", "warn", "error")(values[0]); err != nil {
		return err
	}
	return c.Log.Level.UnmarshalText([]byte(values[0]))
}

// setDomains takes host names. An address has nothing below it.
func setDomains(c *Config, values []string) error {
	valid := regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	domains := make([]string, 0, len(values))
	for _, v := range values {
		name := strings.ToLower(v)
		if _, err := netip.ParseAddr(name); err == nil || !valid.MatchString(name) || len(name) > 253 {
			return fmt.Errorf("%q is no host name; write s3.example.com, without a port, a wildcard or a dot at its end", v)
		}
		domains = append(domains, name)
	}
	c.Domains = domains
	return nil
}

// setTrustedProxies takes networks, and addresses as networks of one.
func setTrustedProxies(c *Config, values []string) error {
	networks := make([]netip.Prefix, 0, len(values))
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if a, err2 := netip.ParseAddr(v); err2 == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			return fmt.Errorf("%q is neither an address nor a network; write 10.0.0.7, 10.0.0.0/8 or fd00::/8", v)
		case p != p.Masked():
			return fmt.Errorf("%q has bits set after its prefix; write %s", v, p.Masked())
		case p.Bits() == 0:
			return fmt.Errorf("%q is everybody, and who is believed may name any address as the client's; list the proxies' own networks", v)
		}
		networks = append(networks, p)
	}
	c.TrustedProxies = networks
	return nil
}

func setEndpoint(c *Config, values []string) error {
	const form = "write http://HOST:PORT or https://HOST:PORT"
	u, err := url.Parse(values[0])
	switch {
	case err != nil: // the error would repeat a password in the URL
		return errors.New("this is no URL; " + form)
	case u.User != nil:
		return errors.New("the URL holds a user or password; give them as upstream.credentials, and here only http(s)://HOST:PORT")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%q is not the URL of a server; %s", values[0], form)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q has more than scheme, host and port; %s", values[0], form)
	case !validHostPort(u.Host, u.Scheme):
		return fmt.Errorf("%q has no valid host or port; %s", values[0], form)
	}
	u.Path, u.RawPath = "", ""
	c.Upstream.Endpoint = u
	return nil
}

func validHostPort(host, scheme string) bool {
	u := url.URL{Scheme: scheme, Host: host}
	if u.Hostname() == "" || strings.HasSuffix(host, ":") {
		return false
	}
	return u.Port() == "" || validPort(u.Port())
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func notEmpty(v string) error {
	if v == "" {
		return errors.New("the value is empty; give one or remove the setting")
	}
	return nil
}

// checkAddress accepts port 0, for tests: any free port.
func checkAddress(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%q is no address; write HOST:PORT or :PORT, an IPv6 address in brackets", v)
	}
	if port != "0" && !validPort(port) {
		return fmt.Errorf("%q has no valid port; it may be 1 to 65535", v)
	}
	if strings.ContainsAny(host, " /@") {
		return fmt.Errorf("%q is no host", host)
	}
	return nil
}

func checkRegion(v string) error {
	if len(v) > 64 || strings.IndexFunc(v, func(r rune) bool { return !isWord(r) && r != '-' }) >= 0 {
		return fmt.Errorf("%q is no region; it may have letters, digits, - and _", v)
	}
	return nil
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
}

// MinIO's own limits. What an access key may not contain would be taken for a
// separator in signatures and policies.
const (
	minAccessKey = 3
	minSecretKey = 8
)

func checkAccessKey(v string) error {
	if len(v) < minAccessKey {
		return fmt.Errorf("the access key has %d characters; MinIO wants at least %d", len(v), minAccessKey)
	}
	if strings.ContainsAny(v, "=,") || strings.IndexFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return errors.New("the access key contains =, a comma, a space or something that is not ASCII")
	}
	return nil
}

func checkSecretKey(v string) error {
	if len(v) < minSecretKey {
		return fmt.Errorf("the secret key has fewer than %d characters, which MinIO does not accept", minSecretKey)
	}
	if strings.ContainsAny(v, "\r\n\x00") {
		return errors.New("the secret key contains a line break")
	}
	return nil
}

func checkKeyName(v string) error {
	if err := kms.ValidateKeyName(v); err != nil {
		return fmt.Errorf("%q is no name of a KMS key: %w", v, err)
	}
	if strings.HasPrefix(v, "bucketseal-system") {
		return fmt.Errorf("%q is reserved: such keys seal the proxy's own data; take another", v)
	}
	return nil
}

func checkPattern(v string) error {
	if v == "" || len(v) > 63 || strings.IndexFunc(v, func(r rune) bool {
		return !isWord(r) && !strings.ContainsRune("-.*?", r)
	}) >= 0 {
		return fmt.Errorf("%q is no pattern of bucket names; it may have letters, digits, '-', '.', and * and ? as wildcards", v)
	}
	return nil
}

// checkOrigin takes patterns of origins, which browsers send in lower case and
// without a path.
func checkOrigin(v string) error {
	if v == "*" || v == "null" {
		return nil
	}
	scheme, host, ok := strings.Cut(v, "://")
	if !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/ ,\t") || v != strings.ToLower(v) {
		return fmt.Errorf("%q is no origin; write https://app.example.com, without a path, in lower case; * and ? are wildcards", v)
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func checkBucketName(v string) error {
	if !bucketName.MatchString(v) || strings.Contains(v, "..") || net.ParseIP(v) != nil {
		return fmt.Errorf("%q is no bucket name; it has 3 to 63 lower-case letters, digits, - and dots", v)
	}
	return nil
}

func checkDeployment(v string) error {
	if len(v) > 64 || strings.IndexFunc(v, func(r rune) bool { return !isWord(r) && !strings.ContainsRune("-.", r) }) >= 0 {
		return fmt.Errorf("%q is no deployment name; it has at most 64 letters, digits, -, _ and dots", v)
	}
	return nil
}

func checkKeyServer(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || !validHostPort(u.Host, u.Scheme) {
		return errors.New("this is no key server; write https://HOST:PORT")
	}
	return nil
}
