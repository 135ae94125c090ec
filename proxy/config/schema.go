package config

import (
	"encoding/json"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/identity"
)

// SchemaURL is the name that the schema has for itself.
const SchemaURL = "https://github.com/bucketseal/bucketseal/blob/main/deploy/bucketseal.schema.json"

// object is a JSON object.
type object = map[string]any

// Schema returns the JSON schema (draft 2020-12) of configuration files, for editors. It
// says which settings there are and of which form. What values mean to each other, config
// check says.
func Schema() []byte {
	root := section("Configuration of bucketseal server")
	root["$schema"], root["$id"], root["title"] = "https://json-schema.org/draft/2020-12/schema", SchemaURL, "bucketseal"
	for _, s := range Settings() {
		at := root
		names := strings.Split(s.Path, ".")
		for _, name := range names[:len(names)-1] {
			properties := at["properties"].(object)
			if properties[name] == nil {
				properties[name] = section("")
			}
			at = properties[name].(object)
		}
		at["properties"].(object)[names[len(names)-1]] = s.schema()
	}
	properties := root["properties"].(object)
	properties["credentials"] = credentialsSchema()
	properties["access"].(object)["properties"].(object)["rules"] = rulesSchema()
	kms := properties["kms"].(object) // or a KES configuration, whose settings its own parser knows
	kms["additionalProperties"] = true
	kms["description"] = "where keys come from: config, remote, or a KES configuration with a keystore"
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // texts, numbers and lists
	}
	return append(data, '\n')
}

// section is a mapping with settings of its own. It may be empty.
func section(description string) object {
	s := object{"type": []string{"object", "null"}, "properties": object{}, "additionalProperties": false}
	if description != "" {
		s["description"] = description
	}
	return s
}

// variableText is a text that stands for a variable of the environment.
func variableText() object {
	return object{"type": "string", "pattern": `^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`}
}

func (s Setting) schema() object {
	o := object{"description": s.Usage}
	if s.Default != "" {
		o["default"] = s.Default
	}
	switch s.Type {
	case TypeList:
		o["type"], o["items"] = "array", object{"type": "string"}
		if s.Default != "" {
			o["default"] = strings.Split(s.Default, ",")
		}
	case TypeBool:
		o["anyOf"] = []object{{"type": "boolean"}, variableText()}
		o["default"] = s.Default == "true"
	case TypeNumber:
		o["anyOf"] = []object{{"type": "integer", "minimum": 0}, {"const": auto}, variableText()}
	case TypeSize:
		o["anyOf"] = []object{{"type": "integer", "minimum": 0}, {"type": "string", "pattern": `^[0-9]+ *([KMGT]i?B|B)?$`}, variableText()}
	case TypeDuration:
		o["anyOf"] = []object{{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}, {"const": 0}, {"const": "0"}, variableText()}
	default:
		o["type"] = "string"
	}
	return o
}

func credentialsSchema() object {
	one := section("")
	pair := section("the pair that signs the client's requests towards MinIO, which then needs not know the client's own")
	for _, o := range []object{one, pair} {
		o["type"], o["required"] = "object", []string{"access_key"}
		o["properties"] = object{
			"access_key":      object{"type": "string", "minLength": 3},
			"secret_key":      object{"type": "string", "description": "at least 8 characters, or a variable"},
			"secret_key_file": object{"type": "string", "description": "file that holds the secret key"},
		}
	}
	one["properties"].(object)["upstream"] = pair
	return object{"type": "array", "description": "the clients' credentials; each pair must exist in MinIO, or have one there in upstream", "items": one}
}

func rulesSchema() object {
	list := func(description string, words ...string) object {
		item := object{"type": "string"}
		if len(words) > 0 {
			item["enum"] = words
		}
		return object{"type": "array", "description": description, "items": item}
	}
	rule := section("")
	rule["type"], rule["required"] = "object", []string{"buckets", "keys"}
	rule["properties"] = object{
		"access_keys": list("patterns of access keys"), "kinds": list("kinds of identities", texts(identity.Kinds())...),
		"sources": list("where identities come from", texts(identity.Sources())...), "buckets": list("patterns of buckets"),
		"keys": list("patterns of KMS keys"), "uses": list("what for; both if not given", string(identity.Generate), string(identity.Decrypt)),
	}
	return object{"type": "array", "description": "who may use which KMS keys where", "items": rule}
}

func texts[T ~string](words []T) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return all
}
