package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// accessRules reads the list of who may use which keys where.
func (r *fileReader) accessRules(e entry) {
	const path = "access.rules"
	if e.value.Kind != yamlfile.List {
		r.errs.Add(r.at(e.value), path, "this is %s; it must be a list of \"- access_keys: [...]\" with \"buckets: [...]\" and \"keys: [...]\" below it", kindOf(e.value))
		return
	}
	r.config.Access.Unrestricted = false
	r.config.Access.Rules = make([]identity.Rule, 0, len(e.value.Items))
	for _, item := range e.value.Items {
		if rule, ok := r.accessRule(path, item); ok {
			r.config.Access.Rules = append(r.config.Access.Rules, rule)
		}
	}
}

func (r *fileReader) accessRule(path string, n *yamlfile.Node) (identity.Rule, bool) {
	rule := identity.Rule{Uses: []identity.Use{identity.Generate, identity.Decrypt}}
	before := len(*r.errs)
	entries, ok := r.entries(path, n)
	if !ok {
		return rule, false
	}
	for _, e := range entries {
		full := join(path, e.name)
		switch e.name {
		case "access_keys":
			rule.AccessKeys = words[string](r, full, e, checkAccessKeyPattern)
		case "kinds":
			rule.Kinds = words[identity.Kind](r, full, e, among(identity.Kinds()))
		case "sources":
			rule.Sources = words[identity.Source](r, full, e, among(identity.Sources()))
		case "buckets":
			rule.Buckets = words[string](r, full, e, checkPattern)
		case "keys":
			rule.Keys = words[string](r, full, e, checkKeyPattern)
		case "uses":
			rule.Uses = words[identity.Use](r, full, e, among([]identity.Use{identity.Generate, identity.Decrypt}))
		default:
			r.errs.Add(e.at, full, "unknown setting; a rule has access_keys, kinds or sources, and buckets, keys and uses")
		}
	}
	if len(*r.errs) > before {
		return rule, false
	}
	at := r.at(n)
	switch {
	case len(rule.AccessKeys)+len(rule.Kinds)+len(rule.Sources) == 0:
		r.errs.Add(at, path, "this rule names nobody; add access_keys, kinds or sources")
	case len(rule.Buckets) == 0:
		r.errs.Add(at, path, "this rule has no buckets; list patterns of names, as in [\"*\"]")
	case len(rule.Keys) == 0:
		r.errs.Add(at, path, "this rule has no keys; list patterns of KMS keys' names, as in [\"*\"]")
	case len(rule.Uses) == 0:
		r.errs.Add(at, path, "this rule has no uses; list generate, decrypt or both, or leave it out for both")
	default:
		return rule, true
	}
	return rule, false
}

// words reads a list of checked words.
func words[T ~string](r *fileReader, path string, e entry, check func(string) error) []T {
	var all []T
	s := Setting{Path: path, Type: TypeList, set: func(_ *Config, values []string) error {
		var list []string
		if err := checkedList(&list, values, check); err != nil {
			return err
		}
		for _, v := range list {
			all = append(all, T(v))
		}
		return nil
	}}
	r.setting(s, e)
	return all
}

// among accepts words of a list.
func among[T ~string](known []T) func(string) error {
	return func(v string) error {
		if slices.Contains(known, T(v)) {
			return nil
		}
		all := make([]string, len(known))
		for i, k := range known {
			all[i] = string(k)
		}
		return fmt.Errorf("%q is none of %s", v, strings.Join(all, ", "))
	}
}

func checkAccessKeyPattern(v string) error {
	if len(v) > 256 || strings.ContainsAny(v, "=,") || strings.IndexFunc(v, func(c rune) bool { return c <= ' ' || c > '~' }) >= 0 {
		return fmt.Errorf("%q is no pattern of access keys; * and ? are wildcards", v)
	}
	return notEmpty(v)
}

func checkKeyPattern(v string) error {
	if len(v) > 80 || strings.IndexFunc(v, func(c rune) bool { return !isWord(c) && !strings.ContainsRune("-_*?", c) }) >= 0 {
		return fmt.Errorf("%q is no pattern of names of KMS keys; it may have letters, digits, '-', '_', and * and ? as wildcards", v)
	}
	return notEmpty(v)
}
