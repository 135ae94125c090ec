package usage

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries bounds the series of a metric that has a key as label. What is beyond goes
// together as the key "other".
const maxSeries = 200

// collector shows the last scan that this process has seen, and the last uses.
type collector struct {
	scanner                          *Scanner
	objects, bytes, age, unseen, use *prometheus.Desc
}

// Collector returns the metrics of who uses what.
func (s *Scanner) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("bucketseal_key_"+name, help, labels, nil)
	}
	return &collector{
		scanner: s,
		objects: desc("objects", "Objects, all versions, and uploads under way that lie under a version of a KMS key, as the last scan counted.", "key", "version", "mode"),
		bytes:   desc("stored_bytes", "Stored bytes of these objects.", "key", "version", "mode"),
		age:     desc("scan_age_seconds", "Seconds since the last scan of all buckets began."),
		unseen:  desc("scan_unknown_objects", "Objects whose records the last scan could not read."),
		use:     desc("last_use_timestamp_seconds", "When this process last used a version of a KMS key, to the minute.", "key", "version", "use"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.objects, c.bytes, c.age, c.unseen, c.use} {
		ch <- d
	}
}

// series is what a number is shown by.
type series struct{ key, version, mode string }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.uses(ch)
	scan := c.scanner.known.Load()
	if scan == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, time.Since(scan.Began).Seconds())
	ch <- prometheus.MustNewConstMetric(c.unseen, prometheus.GaugeValue, float64(scan.UnknownCount))
	type sum struct{ objects, bytes int64 }
	sums, order := make(map[series]sum), []series{}
	for _, row := range scan.Rows {
		at := series{row.KMSKey, strconv.FormatUint(uint64(row.Version), 10), row.Mode}
		if _, there := sums[at]; !there {
			if len(order) >= maxSeries {
				at = series{"other", "0", row.Mode}
			}
			if _, there = sums[at]; !there {
				order = append(order, at)
			}
		}
		n := sums[at]
		sums[at] = sum{n.objects + row.Objects + row.Uploads, n.bytes + row.Bytes}
	}
	for _, at := range order {
		n := sums[at]
		ch <- prometheus.MustNewConstMetric(c.objects, prometheus.GaugeValue, float64(n.objects), at.key, at.version, at.mode)
		ch <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(n.bytes), at.key, at.version, at.mode)
	}
}

// uses shows the latest uses, the most recent first where there are too many.
func (c *collector) uses(ch chan<- prometheus.Metric) {
	type one struct {
		id       usedID
		use      string
		lastUnix int64
	}
	u := c.scanner.o.Uses
	var all []one
	u.mu.RLock()
	for id, m := range u.seen {
		if g := m.generate.Load(); g > 0 {
			all = append(all, one{id, "generate", g * 60})
		}
		if d := m.decrypt.Load(); d > 0 {
			all = append(all, one{id, "decrypt", d * 60})
		}
	}
	u.mu.RUnlock()
	slices.SortFunc(all, func(a, b one) int { return cmp.Compare(b.lastUnix, a.lastUnix) })
	for _, o := range all[:min(len(all), maxSeries)] {
		ch <- prometheus.MustNewConstMetric(c.use, prometheus.GaugeValue, float64(o.lastUnix), o.id.key, strconv.FormatUint(uint64(o.id.version), 10), o.use)
	}
}
