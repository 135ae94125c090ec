package server

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are those of KES, by name and type. Clients of KES fail on families
// they do not know, so there are no others.
type metrics struct {
	success, errors, failure *prometheus.CounterVec
	active                   prometheus.Gauge
	responseTime             prometheus.Histogram
	errorEvents, auditEvents prometheus.Counter
	handler                  http.Handler
}

func newMetrics(started time.Time, now func() time.Time) *metrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"code"})
	}
	m := &metrics{
		success: vec("kes_http_request_success", "Requests that succeeded, by status."),
		errors:  vec("kes_http_request_error", "Requests that failed by the client's fault, by status."),
		failure: vec("kes_http_request_failure", "Requests that failed by the server's fault, by status."),
		active:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "kes_http_request_active", Help: "Requests being served."}),
		responseTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kes_http_response_time", Help: "Seconds that requests took.",
			Buckets: []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 3, 5, 10},
		}),
		errorEvents: prometheus.NewCounter(prometheus.CounterOpts{Name: "kes_log_error_events", Help: "Lines written to the error log."}),
		auditEvents: prometheus.NewCounter(prometheus.CounterOpts{Name: "kes_log_audit_events", Help: "Requests audited."}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.success, m.errors, m.failure, m.active, m.responseTime, m.errorEvents, m.auditEvents,
		newSystemCollector(started, now))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

// count notes a request that was served; timed is false for streams.
func (m *metrics) count(code int, elapsed time.Duration, timed bool) {
	vec := m.success
	switch {
	case code >= 500:
		vec = m.failure
	case code >= 400:
		vec = m.errors
	}
	vec.WithLabelValues(strconv.Itoa(code)).Inc()
	if timed {
		m.responseTime.Observe(elapsed.Seconds())
	}
}

// systemCollector reads the process's figures when asked for them.
type systemCollector struct {
	started time.Time
	now     func() time.Time

	upTime, cpus, usedCPUs, threads, heap, objects, stack *prometheus.Desc
}

func newSystemCollector(started time.Time, now func() time.Time) *systemCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("kes_system_"+name, help, nil, nil)
	}
	return &systemCollector{
		started: started, now: now,
		upTime:   desc("up_time", "Seconds since the server started."),
		cpus:     desc("num_cpu", "Logical CPUs of the machine."),
		usedCPUs: desc("num_cpu_used", "Logical CPUs the server may use."),
		threads:  desc("num_threads", "Threads of the operating system."),
		heap:     desc("mem_heap_used", "Bytes of heap in use."),
		objects:  desc("mem_heap_objects", "Objects on the heap."),
		stack:    desc("mem_stack_used", "Bytes of stack in use."),
	}
}

// Describe implements prometheus.Collector.
func (c *systemCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.upTime, c.cpus, c.usedCPUs, c.threads, c.heap, c.objects, c.stack} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *systemCollector) Collect(out chan<- prometheus.Metric) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	threads, _ := runtime.ThreadCreateProfile(nil)
	gauge := func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(c.upTime, c.now().Sub(c.started).Seconds())
	gauge(c.cpus, float64(runtime.NumCPU()))
	gauge(c.usedCPUs, float64(runtime.GOMAXPROCS(0)))
	gauge(c.threads, float64(threads))
	gauge(c.heap, float64(memory.HeapAlloc))
	gauge(c.objects, float64(memory.HeapObjects))
	gauge(c.stack, float64(memory.StackInuse))
}
