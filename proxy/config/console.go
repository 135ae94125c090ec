package config

import (
	"net"
	"net/netip"
	"time"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// Console says where the console is, and how long a login lasts.
type Console struct {
	// Address is HOST:PORT; "" is no console.
	Address string
	// PlainHTTP serves it without TLS on an address that others reach.
	PlainHTTP bool
	// Session is how long a login lasts at most.
	Session time.Duration
}

func consoleSettings() []Setting {
	return []Setting{
		{
			Path: "console.address", Type: TypeString, Env: "BUCKETSEAL_CONSOLE_ADDRESS",
			Usage: "serve the console, a page for browsers, on HOST:PORT", set: text(func(c *Config) *string { return &c.Console.Address }, checkAddress),
		},
		{
			Path: "console.plain_http", Type: TypeBool, Default: "false",
			Usage: "serve the console without TLS on an address that others reach, as behind a balancer that has TLS: secret keys travel readable from there",
			set:   boolean(func(c *Config) *bool { return &c.Console.PlainHTTP }),
		},
		{
			Path: "console.session", Type: TypeDuration, Default: "1h",
			Usage: "how long a login at the console lasts at most; one that rests ends after ten minutes",
			set:   duration(func(c *Config) *time.Duration { return &c.Console.Session }, time.Minute, 24*time.Hour),
		},
	}
}

// finishConsole refuses a console to which secrets would travel readable.
func (c *Config) finishConsole(errs *yamlfile.Problems) {
	if c.Console.Address == "" || c.TLS.Enabled() || c.Console.PlainHTTP {
		return
	}
	host, _, err := net.SplitHostPort(c.Console.Address)
	if err != nil {
		return // found before
	}
	if addr, err := netip.ParseAddr(host); host == "localhost" || err == nil && addr.IsLoopback() {
		return
	}
	errs.Add(c.originOf("console.address"), "console.address",
		"secret keys are typed in there, and the server has no TLS; set tls, listen on 127.0.0.1, or set console.plain_http if something before it has TLS")
}
