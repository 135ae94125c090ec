package config

import "time"

// doctorSettings are about the looks that a server takes at its surroundings.
func doctorSettings() []Setting {
	return []Setting{{
		Path: "doctor.interval", Type: TypeDuration, Default: "5m", Env: "BUCKETSEAL_DOCTOR_INTERVAL",
		Usage: "how often the server looks for what is wrong around it, as bucketseal doctor does; 0 for never",
		set:   duration(func(c *Config) *time.Duration { return &c.DoctorInterval }, 0, 24*time.Hour),
	}}
}
