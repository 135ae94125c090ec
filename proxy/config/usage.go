package config

import "time"

// UsageScan is how often, and how fast, the buckets are scanned for what uses which KMS key.
type UsageScan struct {
	// Interval is the time between the beginnings of two scans; 0 is no scan.
	Interval time.Duration
	// Rate bounds the objects per second; 0 is no bound.
	Rate int
}

func usageSettings() []Setting {
	return []Setting{
		{
			Path: "usage_scan.interval", Type: TypeDuration, Default: "24h", Env: "BUCKETSEAL_USAGE_SCAN_INTERVAL",
			Usage: "how often one of the proxies counts what uses which KMS key; 0s for never",
			set:   duration(func(c *Config) *time.Duration { return &c.UsageScan.Interval }, 0, 365*24*time.Hour),
		},
		{
			Path: "usage_scan.rate", Type: TypeNumber, Default: "500",
			Usage: "objects per second that such a scan lists at most; 0 for no bound",
			set:   number(func(c *Config) *int { return &c.UsageScan.Rate }, 0, 1_000_000),
		},
	}
}
