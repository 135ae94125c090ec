package main

import (
	"bufio"
	"os"
	"runtime"
	"strings"
)

// machine is where a run took place.
type machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"`
	// Load is the load average of the last minute when the run began.
	Load string `json:"load"`
	Go   string `json:"go"`
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Processors: runtime.NumCPU(), Go: runtime.Version()}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(data), " ")
	}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}
