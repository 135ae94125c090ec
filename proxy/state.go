package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/bucketconfig"
)

// registerState adds what operators want to know of the proxy beside its requests.
func (s *Server) registerState(rules *bucketconfig.Rules) {
	r := s.opts.Metrics
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("bucketseal_ready", "1 if the proxy is ready, as its readiness path says, else 0.", func() float64 { return truth(s.readiness.Now() == nil) })
	gauge("bucketseal_storage_usable", "1 if the last probe found MinIO to do what reads and writes need, else 0.", func() float64 {
		storage, _ := s.readiness.Usable()
		return truth(storage)
	})
	gauge("bucketseal_keys_usable", "1 if the last probe found the key service to do what reads and writes need, else 0.", func() float64 {
		_, keys := s.readiness.Usable()
		return truth(keys)
	})
	r.MustRegister(&stateCollector{server: s, rules: rules, descs: stateDescs()})
	s.opts.Upstream.Register(r)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// stateCollector shows what there is only after a while: a value from before would be a lie.
type stateCollector struct {
	server *Server
	rules  *bucketconfig.Rules
	descs  map[string]*prometheus.Desc
}

func stateDescs() map[string]*prometheus.Desc {
	return map[string]*prometheus.Desc{
		"lease":   prometheus.NewDesc("bucketseal_rules_age_seconds", "Age of this process's copy of the bucket rules.", nil, nil),
		"swept":   prometheus.NewDesc("bucketseal_sweep_last_timestamp_seconds", "When this process last ended a sweep of the system bucket, in Unix seconds.", nil, nil),
		"success": prometheus.NewDesc("bucketseal_sweep_last_success", "1 if this process's last sweep of the system bucket went over all of it, else 0.", nil, nil),
		"things":  prometheus.NewDesc("bucketseal_sweep_things", "What the last sweep of the system bucket counted: removed, waiting for a later one, or skipped because it cannot be judged.", []string{"state"}, nil),
		"notes":   prometheus.NewDesc("bucketseal_system_objects", "Objects in the system bucket as the last sweep found them: uploads under way, their parts, manifests, and wraps.", []string{"kind"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc string, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(c.descs[desc], prometheus.GaugeValue, value, labels...)
	}
	if age, ok := c.rules.Age(); ok {
		gauge("lease", age.Seconds())
	}
	last, ok := c.server.keeper.LastSweep()
	if !ok {
		return
	}
	gauge("swept", float64(last.Ended.UnixNano())/float64(time.Second))
	gauge("success", truth(last.Err == nil))
	gauge("things", float64(last.Removed), "removed")
	gauge("things", float64(last.Waiting), "waiting")
	gauge("things", float64(last.Skipped), "skipped")
	gauge("notes", float64(last.Found.Uploads), "upload")
	gauge("notes", float64(last.Found.Parts), "part")
	gauge("notes", float64(last.Found.Manifests), "manifest")
	gauge("notes", float64(last.Found.Wraps), "wrap")
}
