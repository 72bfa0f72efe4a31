{{/* Refuses what the API server would refuse and a schema cannot say: what has to be compared or added up. With the key. */}}
{{- define "alert-remediator.cluster" -}}
{{- $v := .Values -}}
{{- include "alert-remediator.clusterSchedule" $v.auditVerify.schedule -}}
{{- include "alert-remediator.clusterNetwork" $v.networkPolicy -}}
{{- include "alert-remediator.clusterResources" (dict "place" "resources" "given" $v.resources) -}}
{{- include "alert-remediator.clusterPlacement" $v -}}
{{- include "alert-remediator.clusterAnnotations" $v -}}
{{- end }}

{{/* Ranges of a cron schedule, numbers or names. */}}
{{- define "alert-remediator.clusterSchedule" -}}
{{- $names := dict -}}
{{- range $at, $name := splitList " " "jan feb mar apr may jun jul aug sep oct nov dec" }}{{- $_ := set $names $name (add1 $at) -}}{{- end -}}
{{- range $at, $name := splitList " " "sun mon tue wed thu fri sat" }}{{- $_ := set $names $name $at -}}{{- end -}}
{{- range $range := regexFindAll "[0-9A-Za-z]+-[0-9A-Za-z]+" . -1 -}}
{{- $ends := list -}}
{{- range splitList "-" (lower $range) -}}
{{- $ends = append $ends (hasKey $names . | ternary (get $names .) (atoi .) | int) -}}
{{- end -}}
{{- if gt (first $ends) (last $ends) }}{{- fail (printf "auditVerify.schedule: %s begins behind its end; write two, such as 22-23,0-4" $range) -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* Addresses with their masks, what is left out of them, and ranges of ports. */}}
{{- define "alert-remediator.clusterNetwork" -}}
{{- range .dns.cidrs }}{{- include "alert-remediator.clusterCidr" (dict "place" "networkPolicy.dns.cidrs" "cidr" .) -}}{{- end -}}
{{- range .apiServer.cidrs }}{{- include "alert-remediator.clusterCidr" (dict "place" "networkPolicy.apiServer.cidrs" "cidr" .) -}}{{- end -}}
{{- range .from }}{{- with .ipBlock }}{{- include "alert-remediator.clusterBlock" (dict "place" "networkPolicy.from" "block" .) -}}{{- end -}}{{- end -}}
{{- range .egress -}}
{{- range .to }}{{- with .ipBlock }}{{- include "alert-remediator.clusterBlock" (dict "place" "networkPolicy.egress" "block" .) -}}{{- end -}}{{- end -}}
{{- range .ports -}}
{{- if and .endPort (lt (int .endPort) (int .port)) }}{{- fail (printf "networkPolicy.egress: endPort %d is less than port %d" (int .endPort) (int .port)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* args: place, block */}}
{{- define "alert-remediator.clusterBlock" -}}
{{- include "alert-remediator.clusterCidr" (dict "place" .place "cidr" .block.cidr) -}}
{{- $mask := splitList "/" .block.cidr | last | int -}}{{- $bits := include "alert-remediator.bits" .block.cidr -}}
{{- range $out := default (list) (get .block "except") -}}
{{- include "alert-remediator.clusterCidr" (dict "place" $.place "cidr" $out) -}}
{{- $inner := include "alert-remediator.bits" $out -}}
{{- if not (and (eq (len $bits) (len $inner)) (gt (splitList "/" $out | last | int) $mask) (hasPrefix (trunc $mask $bits) $inner)) -}}
{{- fail (printf "%s: ipBlock.except %s is not within %s, or no less than all of it" $.place $out $.block.cidr) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* args: place, cidr */}}
{{- define "alert-remediator.clusterCidr" -}}
{{- $bits := include "alert-remediator.bits" .cidr -}}
{{- if contains "1" (substr (splitList "/" .cidr | last | int) -1 $bits) -}}
{{- fail (printf "%s: %s has bits behind its mask, so nobody can tell the network from the one address; write 0 there, or /%d" .place .cidr (len $bits)) -}}
{{- end -}}
{{- end }}

{{/* The bits of an address (with a mask), as text. */}}
{{- define "alert-remediator.bits" -}}
{{- $address := splitList "/" . | first | lower -}}
{{- if contains ":" $address -}}
{{- $halves := splitList "::" $address -}}
{{- $head := without (splitList ":" (first $halves)) "" -}}{{- $tail := list -}}
{{- if gt (len $halves) 1 }}{{- $tail = without (splitList ":" (last $halves)) "" -}}{{- end -}}
{{- $digits := dict -}}
{{- range $at, $digit := splitList "" "0123456789abcdef" }}{{- $_ := set $digits $digit (printf "%04b" $at) -}}{{- end -}}
{{- range $group := $head }}{{- range splitList "" (printf "%s%s" (repeat (sub 4 (len $group) | int) "0") $group) }}{{- get $digits . -}}{{- end -}}{{- end -}}
{{- repeat (mul 16 (sub 8 (add (len $head) (len $tail))) | int) "0" -}}
{{- range $group := $tail }}{{- range splitList "" (printf "%s%s" (repeat (sub 4 (len $group) | int) "0") $group) }}{{- get $digits . -}}{{- end -}}{{- end -}}
{{- else -}}
{{- range splitList "." $address }}{{- printf "%08b" (int .) -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* Requests and limits of a container. args: place, given */}}
{{- define "alert-remediator.clusterResources" -}}
{{- $place := .place -}}{{- $given := default (dict) .given -}}
{{- $requests := default (dict) $given.requests -}}{{- $limits := default (dict) $given.limits -}}
{{- range $what, $asked := $requests -}}
{{- $whole := or (hasPrefix "hugepages-" $what) (and (contains "/" $what) (not (regexMatch "^([^/]*[.])?kubernetes[.]io/" $what))) -}}
{{- $number := include "alert-remediator.quantity" $asked | float64 -}}
{{- $most := hasKey $limits $what | ternary (include "alert-remediator.quantity" (get $limits $what) | float64) -1.0 -}}
{{- if and $whole (ne $number $most) -}}
{{- fail (printf "%s.requests.%s: %s needs the same in %s.limits.%s, which cannot be shared" $place $what (toString $asked) $place $what) -}}
{{- else if and (hasKey $limits $what) (gt $number $most) -}}
{{- fail (printf "%s.requests.%s: %s is more than %s.limits.%s (%s)" $place $what (toString $asked) $place $what (toString (get $limits $what))) -}}
{{- end -}}
{{- end -}}
{{- range $what, $most := $limits -}}
{{- if hasPrefix "hugepages-" $what -}}
{{- $pages := divf (include "alert-remediator.quantity" $most | float64) (include "alert-remediator.quantity" (trimPrefix "hugepages-" $what) | float64) -}}
{{- if ne (floor $pages) $pages }}{{- fail (printf "%s.limits.%s: %s is no multiple of %s" $place $what (toString $most) (trimPrefix "hugepages-" $what)) -}}{{- end -}}
{{- if not (or (hasKey $requests "cpu") (hasKey $requests "memory") (hasKey $limits "cpu") (hasKey $limits "memory")) -}}
{{- fail (printf "%s: hugepages need cpu or memory besides" $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Constraints that say the same twice, and label keys that contradict each other. */}}
{{- define "alert-remediator.clusterPlacement" -}}
{{- $seen := list -}}
{{- range .topologySpreadConstraints -}}
{{- $pair := printf "%s with %s" .topologyKey .whenUnsatisfiable -}}
{{- if has $pair $seen }}{{- fail (printf "topologySpreadConstraints: %s is there twice" $pair) -}}{{- end -}}
{{- $seen = append $seen $pair -}}
{{- end -}}
{{- range $kind := list "podAffinity" "podAntiAffinity" -}}
{{- $near := default (dict) (get $.affinity $kind) -}}
{{- range default (list) (get $near "requiredDuringSchedulingIgnoredDuringExecution") }}{{- include "alert-remediator.clusterKeys" . -}}{{- end -}}
{{- range default (list) (get $near "preferredDuringSchedulingIgnoredDuringExecution") }}{{- include "alert-remediator.clusterKeys" .podAffinityTerm -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* args: a term of an affinity */}}
{{- define "alert-remediator.clusterKeys" -}}
{{- range .matchLabelKeys -}}
{{- if has . (default (list) $.mismatchLabelKeys) }}{{- fail (printf "affinity: %s is in matchLabelKeys and in mismatchLabelKeys" .) -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* An object may have 256 KiB of annotations; a little is left for those of the chart, of helm and of controllers. */}}
{{- define "alert-remediator.clusterAnnotations" -}}
{{- $most := sub 262144 1024 -}}
{{- range $place := splitList " " "commonAnnotations annotations podAnnotations store.annotations serviceAccount.annotations service.annotations ingress.annotations httpRoute.annotations networkPolicy.annotations serviceMonitor.annotations prometheusRule.annotations dashboard.annotations alertmanagerConfig.annotations tests.annotations" -}}
{{- $given := $ -}}
{{- range splitList "." $place }}{{- $given = default (dict) (get $given .) -}}{{- end -}}
{{- $size := 0 -}}
{{- range $key, $value := merge (dict) $given $.commonAnnotations }}{{- $size = add $size (len $key) (len $value) -}}{{- end -}}
{{- if gt $size $most }}{{- fail (printf "%s: annotations of %d bytes, with those of commonAnnotations; an object may have %d" $place $size $most) -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* Containers of one's own. args: containers, volumes (the names of all that the pod has) */}}
{{- define "alert-remediator.clusterContainers" -}}
{{- $own := list "remediator" "migrate" "verify" -}}{{- $seen := list -}}
{{- range $container := .containers -}}
{{- if has .name $own }}{{- fail (printf "extraContainers: the container %s is the chart's own, as are %s; give yours another name" .name (join ", " $own)) -}}{{- end -}}
{{- if has .name $seen }}{{- fail (printf "extraContainers: the container %s is there twice" .name) -}}{{- end -}}
{{- $seen = append $seen .name -}}
{{- range .volumeMounts -}}
{{- if not (has .name $.volumes) }}{{- fail (printf "extraContainers: %s mounts the volume %s, which there is not; there are %s" $container.name .name (join ", " $.volumes)) -}}{{- end -}}
{{- end -}}
{{- include "alert-remediator.clusterResources" (dict "place" (printf "extraContainers: %s: resources" .name) "given" .resources) -}}
{{- end -}}
{{- end }}
