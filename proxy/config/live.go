package config

import (
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// Live says whether a running server takes up a change of a setting.
func Live(path string) bool {
	return path == "credentials" || strings.HasPrefix(path, "credentials.") || slices.Contains(livePaths(), path)
}

// livePaths are the settings that TakeLive takes.
func livePaths() []string {
	return []string{
		"log.level", "log.format", "domain", "cors_allow_origin", "trusted_proxies", "forwarded_header", "access.key_admins", "access.rules",
		"sse_s3.key", "sse_s3.former_keys", "sse_s3.etag", "sse_s3.opaque_etag", "sse_s3.md5_etag",
		"allow_anonymous", "plain_read", "customer_keys_over_http", "signature_v2",
		"limits.drain", "limits.shutdown", "limits.max_clock_skew", "limits.max_requests", "limits.queue_wait", "limits.stall",
		"limits.max_connections", "limits.max_http2_connections", "limits.max_connections_per_client",
		"metrics.address", "metrics.profiling", "readiness.key_service", "doctor.interval",
	}
}

// TakeLive returns the configuration that a server has which runs with c and takes up
// fresh: what is not live stays as it is in c.
func (c *Config) TakeLive(fresh *Config) *Config {
	n := *c
	n.Log, n.Domains, n.AllowOrigin = fresh.Log, fresh.Domains, fresh.AllowOrigin
	n.TrustedProxies, n.ForwardedHeader = fresh.TrustedProxies, fresh.ForwardedHeader
	n.Access, n.Credentials, n.Root = fresh.Access, fresh.Credentials, fresh.Root
	n.AllowAnonymous, n.PlainRead = fresh.AllowAnonymous, fresh.PlainRead
	n.CustomerKeysOverHTTP, n.SignatureV2 = fresh.CustomerKeysOverHTTP, fresh.SignatureV2
	n.MetricsAddress, n.Profiling, n.ReadinessKeyService = fresh.MetricsAddress, fresh.Profiling, fresh.ReadinessKeyService
	n.DoctorInterval, n.Warnings = fresh.DoctorInterval, fresh.Warnings
	n.SSES3 = fresh.SSES3
	if _, given := fresh.given["sse_s3.key"]; !given && n.DefaultKey != fresh.DefaultKey {
		n.SSES3.Key = c.SSES3.Key // one that follows from default_key waits with it
	}
	l, f := &n.Limits, &fresh.Limits
	l.Drain, l.Shutdown, l.MaxClockSkew, l.Stall = f.Drain, f.Shutdown, f.MaxClockSkew, f.Stall
	l.MaxRequests, l.QueueWait = f.MaxRequests, f.QueueWait
	l.MaxConnections, l.MaxHTTP2Connections, l.MaxConnectionsPerClient = f.MaxConnections, f.MaxHTTP2Connections, f.MaxConnectionsPerClient
	n.given, n.origin = c.takeGiven(fresh)
	return &n
}

// takeGiven returns what the settings were given, and where.
func (c *Config) takeGiven(fresh *Config) (given map[string][]string, origin map[string]yamlfile.Place) {
	given, origin = make(map[string][]string), make(map[string]yamlfile.Place)
	for _, from := range []struct {
		c    *Config
		live bool
	}{{c, false}, {fresh, true}} {
		for path, values := range from.c.given {
			if Live(path) == from.live {
				given[path] = values
			}
		}
		for path, at := range from.c.origin {
			if Live(path) == from.live {
				origin[path] = at
			}
		}
	}
	return given, origin
}
