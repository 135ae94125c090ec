package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// ticks is how many of its units the kernel counts in a second (USER_HZ).
const ticks = 100

// processorSeconds is the processor time that the process has used so far, of
// all its threads, in user and system mode.
func processorSeconds(pid int) (float64, error) {
	if s, err := processorClock(pid); err == nil {
		return s, nil
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(data)
}

// parseStat reads utime and stime from /proc/PID/stat, in seconds. The second
// field, the command, can hold anything: fields are counted from the last ')'.
func parseStat(data []byte) (float64, error) {
	_, rest, ok := cutLast(data, ')')
	if !ok {
		return 0, errors.New("/proc stat: no command")
	}
	fields := bytes.Fields(rest)
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc stat: %d fields after the command", len(fields))
	}
	user, err := strconv.ParseUint(string(fields[utime]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc stat: utime: %w", err)
	}
	system, err := strconv.ParseUint(string(fields[stime]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc stat: stime: %w", err)
	}
	return float64(user+system) / ticks, nil
}

func cutLast(data []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(data, sep)
	if i < 0 {
		return data, nil, false
	}
	return data[:i], data[i+1:], true
}

// resetPeak has the kernel begin anew with the process's peak of resident memory.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// memoryOf reads a line of /proc/PID/status, in bytes: VmHWM is the peak of
// resident memory since resetPeak, VmRSS what is resident now.
func memoryOf(pid int, line string) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseStatus(data, line)
}

// parseStatus finds a line like "VmHWM:     1234 kB" and returns bytes.
func parseStatus(data []byte, name string) (int64, error) {
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte(name+":"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) != 2 || string(fields[1]) != "kB" {
			return 0, fmt.Errorf("/proc status: %s is %q", name, bytes.TrimSpace(rest))
		}
		kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc status: %s: %w", name, err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("/proc status: no %s", name)
}
