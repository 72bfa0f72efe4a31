{{/* What policy.files say, as JSON: mode, scope and rules of all files, and each freshness (15m where nobody says one). A file that is no YAML ends the rendering. */}}
{{- define "alert-remediator.policy" -}}
{{- $words := (.Files.Get "files/rights.yaml" | fromYaml).policy -}}
{{- $mode := "auto" -}}{{- $scope := dict -}}{{- $rules := list -}}{{- $freshness := list -}}{{- $usual := "15m" -}}
{{- range $file, $text := .Values.policy.files -}}
{{- if or (not (regexMatch "^[A-Za-z0-9._-]+[.]ya?ml$" $file)) (hasPrefix ".." $file) (gt (len $file) 253) -}}
{{- fail (printf "policy.files: %q is no name of a file that is read; let it be of at most 253 letters, digits, dots and dashes, not begin with two dots and end with .yaml" $file) -}}
{{- end -}}
{{- if not (regexMatch "\\.test\\.ya?ml$" $file) -}}
{{- $document := fromYaml $text -}}
{{- if hasKey $document "Error" -}}
{{- if contains "cannot unmarshal" (get $document "Error") -}}
{{- fail (printf "policy.files.%s: expected keys with values, such as version and rules" $file) -}}
{{- end -}}
{{- fail (printf "policy.files.%s is no YAML: %s" $file (get $document "Error")) -}}
{{- end -}}
{{- include "alert-remediator.checkPolicy" (dict "place" (printf "policy.files.%s" $file) "text" $text "document" $document "words" $words) -}}
{{- with $document.mode }}{{- $mode = toString . -}}{{- end -}}
{{- with $document.scope }}{{- $scope = . -}}{{- end -}}
{{- with $document.freshness }}{{- $usual = . -}}{{- end -}}
{{- with $document.rules }}{{- $rules = concat $rules . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq (toString .Values.settings.MODE) "observe" }}{{- $mode = "observe" -}}{{- end -}}
{{- range $rules }}{{- with .freshness }}{{- $freshness = append $freshness . -}}{{- end -}}{{- end -}}
{{- dict "mode" $mode "scope" $scope "rules" $rules "freshness" (append $freshness $usual) | toJson -}}
{{- end }}

{{/* "true" when one of the patterns fits the name. args: name, patterns */}}
{{- define "alert-remediator.fits" -}}
{{- $name := .name -}}{{- $found := "" -}}
{{- range .patterns -}}
{{- $regex := . | replace "." "\\." | replace "*" ".*" | replace "?" "." | replace "[!" "[^" -}}
{{- if regexMatch (printf "^%s$" $regex) $name }}{{- $found = "true" -}}{{- end -}}
{{- end -}}
{{- $found -}}
{{- end }}

{{/* The namespaces that get a role, as a JSON list. args: root, policy, table */}}
{{- define "alert-remediator.namespaces" -}}
{{- $scope := .policy.scope -}}{{- $protected := .table.protectedNamespaces -}}{{- $found := list -}}
{{- range concat (default (list) $scope.namespaces) .root.Values.rbac.namespaces -}}
{{- $covered := include "alert-remediator.fits" (dict "name" . "patterns" (default (list) $scope.namespaces)) -}}
{{- $excluded := include "alert-remediator.fits" (dict "name" . "patterns" (default (list) $scope.exclude_namespaces)) -}}
{{- if not (regexMatch "[*?\\[]" .) -}}
{{- if and $covered (not $excluded) (not (has . $protected)) -}}
{{- $found = append $found . -}}
{{- else if has . $.root.Values.rbac.namespaces -}}
{{- fail (printf "rbac.namespaces: the policy does not act in %s" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $found -}}
{{- $patterns := "" -}}{{- range default (list) $scope.namespaces -}}{{- if regexMatch "[*?\\[]" . -}}{{- $patterns = "true" -}}{{- end -}}{{- end -}}
{{- if not $patterns -}}
{{- fail (printf "policy: its scope (%s) has no namespace in which it may act: kube-system and its like are protected" (join ", " (default (list) $scope.namespaces))) -}}
{{- end -}}
{{- fail (printf "rbac.namespaces: RBAC knows no patterns; name the namespaces that the policy's scope (%s) stands for" (join ", " (default (list) $scope.namespaces))) -}}
{{- end -}}
{{- $found | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* The namespaces that the chart knows the policy to act in, as a JSON list: those that get a role. */}}
{{- define "alert-remediator.spaces" -}}
{{- if .Values.rbac.roles -}}
{{- keys .Values.rbac.roles | sortAlpha | toJson -}}
{{- else -}}
{{- $policy := include "alert-remediator.policy" . | fromJson -}}
{{- $table := .Files.Get "files/rights.yaml" | fromYaml -}}
{{- include "alert-remediator.namespaces" (dict "root" . "policy" $policy "table" $table) -}}
{{- end -}}
{{- end }}

{{/* The rules of one role, each with a comment that says who needs it: what `remediator rbac` prints. args: policy, table, namespace */}}
{{- define "alert-remediator.rules" -}}
{{- $table := .table -}}{{- $policy := .policy -}}{{- $scope := .policy.scope -}}{{- $needed := dict -}}
{{- range $table.every -}}
{{- $_ := set $needed (printf "%s %s %s " .group .resource .verb) (dict $table.texts.every true) -}}
{{- end -}}
{{- $_ := set $needed (printf " namespaces get %s" .namespace) (dict $table.texts.mark true) -}}
{{- range $rule := $policy.rules -}}
{{- $handler := get $table.remediations (toString $rule.remediation) -}}
{{- if not $handler -}}
{{- fail (printf "policy.files: rule %q names the remediation %q; there are %s" (toString $rule.name) (toString $rule.remediation) (keys $table.remediations | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $rights := list -}}
{{- if $handler.readsConfig -}}
{{- range $table.config }}{{- $rights = append $rights (printf "%s %s %s " .group .resource .verb) -}}{{- end -}}
{{- with $scope.secrets }}{{- $rights = append $rights (printf " secrets get %s" (uniq . | sortAlpha | join ",")) -}}{{- end -}}
{{- end -}}
{{- range $param, $default := $handler.secretParams -}}
{{- $params := default (dict) $rule.params -}}
{{- with ternary (get $params $param) $default (hasKey $params $param) }}{{- $rights = append $rights (printf " secrets get %s" .) -}}{{- end -}}
{{- end -}}
{{- if and (ne $policy.mode "observe") (ne (default $handler.mode $rule.mode) "observe") -}}
{{- $target := default (dict) $rule.target -}}
{{- $kinds := list (default "Deployment" $target.kind) -}}
{{- $name := default (dict) $target.name -}}
{{- if or (not $rule.target) $target.pod $name.label (not (has (first $kinds) $table.workloadKinds)) }}{{- $kinds = $table.workloadKinds -}}{{- end -}}
{{- range $kind := $kinds -}}
{{- if not (has $kind (default (list) $scope.protected_kinds)) -}}
{{- range get $handler.writes $kind }}{{- $rights = append $rights (printf "%s %s %s " .group .resource .verb) -}}{{- end -}}
{{- range $param, $verbs := $handler.secretWrites -}}
{{- with get (default (dict) $rule.params) $param -}}
{{- $named := . -}}
{{- range $verbs }}{{- $rights = append $rights (printf " secrets %s %s" . $named) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range get $handler.inside $kind }}{{- $rights = append $rights (printf "%s %s %s " .group .resource .verb) -}}{{- end -}}
{{- end -}}
{{- range $table.events -}}
{{- $key := printf "%s %s %s " .group .resource .verb -}}
{{- $_ := set $needed $key (merge (dict $table.texts.events true) (default (dict) (get $needed $key))) -}}
{{- end -}}
{{- end -}}
{{- range $rights -}}
{{- $_ := set $needed . (merge (dict (toString $rule.remediation) true) (default (dict) (get $needed .))) -}}
{{- end -}}
{{- end -}}
{{- $merged := dict -}}{{- $order := list -}}
{{- range $key := keys $needed | sortAlpha -}}
{{- $owners := keys (get $needed $key) | sortAlpha -}}
{{- if has $table.texts.every $owners }}{{- $owners = list $table.texts.every -}}{{- end -}}
{{- $part := splitList " " $key -}}
{{- $line := printf "%s %s %s %s" (index $part 0) (index $part 1) (index $part 3) ($owners | toJson) -}}
{{- if not (hasKey $merged $line) -}}
{{- $order = append $order $line -}}
{{- $_ := set $merged $line (dict "group" (index $part 0) "resource" (index $part 1) "names" (index $part 3) "owners" $owners "verbs" (list)) -}}
{{- end -}}
{{- $grant := get $merged $line -}}
{{- $_ := set $grant "verbs" (append $grant.verbs (index $part 2)) -}}
{{- end -}}
{{- range $line := $order -}}
{{- with get $merged $line }}
{{- $plain := list -}}{{- $sentences := list -}}
{{- range .owners -}}
{{- if contains " " . }}{{- $sentences = append $sentences . -}}{{- else }}{{- $plain = append $plain . -}}{{- end -}}
{{- end -}}
{{- if $plain }}{{- $sentences = prepend $sentences (join ", " $plain) -}}{{- end }}
- {apiGroups: [{{ .group | quote }}], resources: [{{ .resource | quote }}], verbs: [{{ join ", " .verbs }}]
  {{- if .names }}, resourceNames: {{ splitList "," .names | toJson }}{{ end }}}  # {{ join "; " $sentences }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The rules of one namespace's role as YAML: those that the policy needs, or those that rbac.roles give. args: root, namespace */}}
{{- define "alert-remediator.role" -}}
{{- if .root.Values.rbac.roles }}
{{- range get .root.Values.rbac.roles .namespace }}
- {{ omit . "neededBy" | toJson }}  # {{ join ", " .neededBy }}
{{- end }}
{{- else }}
{{- $table := .root.Files.Get "files/rights.yaml" | fromYaml }}
{{- $policy := include "alert-remediator.policy" .root | fromJson }}
{{- include "alert-remediator.rules" (dict "policy" $policy "table" $table "namespace" .namespace) }}
{{- end }}
{{- end }}

{{/* One namespace's role in words, made from its rules so that it can say neither less nor more. args: root, namespace */}}
{{- define "alert-remediator.inWords" -}}
{{- $reads := list -}}{{- $changes := dict -}}{{- $secrets := dict -}}
{{- range $rule := include "alert-remediator.role" . | fromYamlArray -}}
{{- range $resource := $rule.resources -}}
{{- if eq $resource "secrets" -}}
{{- range $name := $rule.resourceNames -}}
{{- $_ := set $secrets $name (concat (default (list) (get $secrets $name)) $rule.verbs) -}}
{{- end -}}
{{- else -}}
{{- range $verb := $rule.verbs -}}
{{- if has $verb (list "get" "list" "watch") -}}
{{- $reads = append $reads $resource -}}
{{- else -}}
{{- $_ := set $changes $verb (append (default (list) (get $changes $verb)) $resource) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
read {{ $reads | uniq | sortAlpha | join ", " }}
{{ range $verb := keys $changes | sortAlpha -}}
{{ $verb }} {{ get $changes $verb | uniq | sortAlpha | join ", " }}
{{ else -}}
change nothing
{{ end -}}
{{- range $name := keys $secrets | sortAlpha -}}
{{ get $secrets $name | uniq | sortAlpha | join ", " }} the Secret {{ $name }}
{{ end -}}
no {{ if $secrets }}other {{ end }}Secret by this role, and none is listed
{{- $makesPods := has "jobs" (default (list) $changes.create) -}}
{{- range list "deployments" "statefulsets" "daemonsets" }}{{ $makesPods = or $makesPods (has . (default (list) $changes.patch)) }}{{ end -}}
{{- if $makesPods }}
(who may change a workload or create a Job could give its pods any Secret of the namespace; this service never does)
{{- end -}}
{{- end }}

{{/* Refuses what rbac.roles give beyond what any remediation needs. args: roles, table */}}
{{- define "alert-remediator.checkRoles" -}}
{{- $table := .table -}}{{- $known := dict -}}
{{- $rights := concat $table.every $table.events $table.config -}}
{{- range $handler := $table.remediations -}}
{{- range $kind, $writes := $handler.writes }}{{- $rights = concat $rights (default (list) $writes) -}}{{- end -}}
{{- range $kind, $inside := $handler.inside }}{{- $rights = concat $rights (default (list) $inside) -}}{{- end -}}
{{- end -}}
{{- range $rights }}{{- $_ := set $known (printf "%s %s %s" .group .resource .verb) true -}}{{- end -}}
{{- range list "secrets get" "secrets patch" "secrets delete" "namespaces get" }}{{- $_ := set $known (printf " %s" .) true -}}{{- end -}}
{{- range $namespace, $rules := .roles -}}
{{- if has $namespace $table.protectedNamespaces -}}
{{- fail (printf "rbac.roles.%s: nothing is done in %s, whatever the policy says" $namespace $namespace) -}}
{{- end -}}
{{- range $rule := $rules -}}
{{- range $group := $rule.apiGroups }}{{- range $resource := $rule.resources }}{{- range $verb := $rule.verbs -}}
{{- if not (hasKey $known (printf "%s %s %s" $group $resource $verb)) -}}
{{- fail (printf "rbac.roles.%s: no remediation needs %s on %s of the group %q; take what remediator rbac --format helm prints" $namespace $verb $resource $group) -}}
{{- end -}}
{{- if and (eq $group "") (has $resource (list "secrets" "namespaces")) (not (compact (default (list) $rule.resourceNames))) -}}
{{- fail (printf "rbac.roles.%s: %s on %s needs resourceNames; no right is for all of them" $namespace $verb $resource) -}}
{{- end -}}
{{- end -}}{{- end -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What the rules connect to, as JSON: open (a list of who, host, port; no host: a Service of the target's namespace), and unknown: what only a Secret or nobody says where it is. */}}
{{- define "alert-remediator.reach" -}}
{{- $table := .Files.Get "files/rights.yaml" | fromYaml -}}
{{- $open := list -}}{{- $unknown := list -}}
{{- range $rule := (include "alert-remediator.policy" . | fromJson).rules -}}
{{- $params := default (dict) $rule.params -}}
{{- range (default (dict) (get $table.remediations (toString $rule.remediation))).connects -}}
{{- $host := toString (default "" (get $params (printf "%shost" .prefix))) -}}
{{- $inside := toString (default .default (get $params (printf "%sservice" .prefix))) -}}
{{- $port := int (default .port (get $params (printf "%sport" .prefix))) -}}
{{- $who := printf "the %s of rule %q" .what (toString $rule.name) -}}
{{- if and (ne .what "object store") (or $host $inside) -}}
{{- $open = append $open (dict "who" $who "host" $host "port" $port) -}}
{{- else if and (eq .what "object store") (not $params.endpoint) (not $.Values.networkPolicy.apiServer.cidrs) -}}
{{- /* A public store's port 443 is open already, as the API server's address is not known. */ -}}
{{- else if ne .what "service" -}}
{{- $unknown = append $unknown $who -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "open" $open "unknown" (uniq $unknown) | toJson -}}
{{- end }}
